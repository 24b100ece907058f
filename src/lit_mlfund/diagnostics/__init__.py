"""Evidence in, findings out: reference models, the verdict, pictures. No Lightning, no Hydra."""
