"""Read files of every kind into frames, and split their rows."""
