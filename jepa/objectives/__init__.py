"""What a world model is trained for: prediction, and not to collapse; one file each."""
