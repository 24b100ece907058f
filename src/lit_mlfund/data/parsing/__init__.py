"""Recognises how a text file is laid out, and how its cells spell numbers and dates."""
