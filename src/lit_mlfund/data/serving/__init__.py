"""Serve batches: dataclasses of tensors, the stores that hold rows, and loaders that draw whole batches by index."""
