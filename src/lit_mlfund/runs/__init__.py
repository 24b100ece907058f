"""Execute one run: assemble its objects, train, measure, write the run folder."""
