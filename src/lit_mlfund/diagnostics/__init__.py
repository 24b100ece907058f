"""Turns evidence of a run into findings; recommends a learning rate, finds unused inputs. No Lightning, no Hydra."""
