"""Plans a run before it is started: its memory, traffic, operations and time on any number of devices."""
