"""Turns a run folder into what people look at: the run card, its figures, text for the terminal."""

from lit_mlfund.reports.card import write_card
from lit_mlfund.reports.terminal import facts_text, run_text, start_text

__all__ = ["facts_text", "run_text", "start_text", "write_card"]
