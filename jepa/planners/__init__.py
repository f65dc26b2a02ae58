"""Search over predicted latents; one file each."""
