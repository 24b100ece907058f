"""Keeps encoded rows on disk: tables larger than memory, and splits cached from one run to the next."""
