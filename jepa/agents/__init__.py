"""One interface for the latent planner and every baseline; one file each."""
