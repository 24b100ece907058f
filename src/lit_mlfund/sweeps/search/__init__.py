"""Searches a space of configurations with Optuna, whose samplers propose and whose pruners end trials."""
