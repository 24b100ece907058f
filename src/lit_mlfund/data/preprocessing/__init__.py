"""Turns columns, texts and images into tensors, with statistics fitted on the training split."""
