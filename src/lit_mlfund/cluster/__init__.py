"""Joins the processes of a launcher or a scheduler, ends them together, and lets the job go on where it was."""
