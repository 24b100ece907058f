"""Finds run folders on the disk, by name or all of them, and reads what they hold; imports neither torch nor Hydra."""
