"""Run many configurations: sweeps, searches of learning rates, claims."""
