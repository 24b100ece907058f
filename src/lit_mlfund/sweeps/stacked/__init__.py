"""Trains seeds and learning rates of one small model together, as one stacked model."""
