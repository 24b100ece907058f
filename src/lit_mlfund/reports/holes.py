"""Collects the parts of a report that could not be made: a failure in reporting never costs the result of a run."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from lit_mlfund.startup.streams import warn


class Holes(dict[str, str]):
    """Maps each part of a report that is missing to the reason."""

    @contextmanager
    def leave(self, part: str) -> Iterator[None]:
        """Run a block that makes `part`; an error in it becomes a hole.

        `MLFUND_TRACEBACK=1` shows where it came from.
        """
        try:
            yield
        except Exception as error:
            if os.environ.get("MLFUND_TRACEBACK", "0") not in ("", "0"):
                warn(traceback.format_exc())
            lines = str(error).strip().splitlines()
            self[part] = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

    def lines(self) -> list[str]:
        """Return one line for each hole."""
        return [f"missing in the report: {part} ({reason})" for part, reason in self.items()]
