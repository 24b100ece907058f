"""Evaluates a trained module beside its references, and publishes the results."""
