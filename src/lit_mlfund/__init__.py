"""lit_mlfund: train, measure and diagnose models for every shape of prediction problem."""

__version__ = "0.1.0"
