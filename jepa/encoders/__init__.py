"""Observation tokens to latents; one file each."""
