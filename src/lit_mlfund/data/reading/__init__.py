"""Reads files of every kind into frames, and splits their rows."""
