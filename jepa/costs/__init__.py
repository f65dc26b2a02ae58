"""A latent and a goal latent to the number of actions between them; one file each."""
