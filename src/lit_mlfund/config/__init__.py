"""Compose, check and describe configurations; never imports torch."""
