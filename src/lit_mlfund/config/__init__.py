"""Composes, checks and describes configurations; never imports torch."""
