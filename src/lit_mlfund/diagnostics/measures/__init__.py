"""Measures what the rules of the doctor judge: values that are not finite, unused inputs, shifts, leaks, noise."""
