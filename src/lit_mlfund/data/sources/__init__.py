"""Reads the data sets that installed packages bring."""
