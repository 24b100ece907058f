"""Turns measurements of a run into findings: verdict, learning rate, unused inputs. No Lightning, no Hydra."""
