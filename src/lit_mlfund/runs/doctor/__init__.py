"""Collects the evidence of a run and names what is wrong with it."""

from lit_mlfund.runs.doctor.doctor import Doctor

__all__ = ["Doctor"]
