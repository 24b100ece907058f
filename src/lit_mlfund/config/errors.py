"""Reports wrong input to the user: every problem at once, and no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches

from lit_mlfund.atomic import WriteError
from lit_mlfund.memory import OutOfMemory

# Errors about the user's input, looked up only in loaded modules: importing them here would import torch.
_INPUT_ERRORS = {
    "lit_mlfund.data.reading.errors": "DataError",
    "hydra.errors": "HydraException",
    "lightning.fabric.utilities.exceptions": "MisconfigurationException",
}


class ConfigError(ValueError):
    """Reports a command or configuration that cannot be run; `problems` holds one line for each reason."""

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(dict.fromkeys(problems))
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n".join([f"{len(self.problems)} problems", *(f"  {problem}" for problem in self.problems)])


def problems_of(error: BaseException) -> list[str] | None:
    """Return what to report when `error` is about the user's input or disk; None when it is a defect of ours."""
    if isinstance(error, ConfigError):
        return error.problems
    kinds: list[type[BaseException]] = [WriteError, OutOfMemory]
    for module, name in _INPUT_ERRORS.items():
        if module in sys.modules:
            kinds.append(getattr(sys.modules[module], name))
    return [" ".join(str(error).split())] if isinstance(error, tuple(kinds)) else None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was most likely meant to be, or None."""
    lowered = {other.lower(): other for other in known}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else None


def suggestion(name: str, known: Iterable[str], limit: int = 24) -> str:
    """Return `did you mean delta?` where a name is close, else `known: delta, weight` or `there is none to give`."""
    known = list(known)
    close = closest(name, known)
    if close is not None:
        return f"did you mean {close}?"
    shown = ", ".join(known[:limit]) + (", …" if len(known) > limit else "")
    return f"known: {shown}" if known else "there is none to give"
