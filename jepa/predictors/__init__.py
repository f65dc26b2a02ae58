"""A latent and an action to the next latent; one file each."""
