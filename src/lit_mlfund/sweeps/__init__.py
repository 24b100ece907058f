"""Runs many configurations: sweeps, learning-rate searches, claims."""
