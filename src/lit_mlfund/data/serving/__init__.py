"""Serves batches: tensor dataclasses, stores that hold rows, and loaders that draw whole batches by index."""
