"""Executes one run: assembles its objects, trains, evaluates, writes the run folder."""
