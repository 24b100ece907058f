"""Sets runs side by side, for the terminal and as pages in a single file."""
