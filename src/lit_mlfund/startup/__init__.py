"""Decides before torch is imported which launcher started this process, and which imports can wait."""
