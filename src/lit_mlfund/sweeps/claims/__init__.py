"""Turns a sweep into a page that tests a claim of the field on its results."""
