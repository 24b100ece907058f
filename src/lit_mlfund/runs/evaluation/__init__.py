"""Measure a trained module beside its references, and publish the results."""
