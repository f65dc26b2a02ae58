"""Actors: which action leads towards a goal, said of a latent at once and without search."""
