"""Executes a frozen run: processes, locks, resuming, the files of the run folder."""
