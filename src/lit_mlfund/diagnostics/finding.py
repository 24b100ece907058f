"""What the doctor says: one finding."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with what shows it and what to change.

    name        short and stable, such as `worse_than_reference`
    severity    info, warning or error
    symptom     one sentence for a person
    evidence    what was measured, with its interval and the threshold it was held against
    ruled_out   rival diagnoses, each with the reason why it is not that
    fixes       Hydra overrides to try, the most promising first
    rows        rows of the user's file to look at
    """

    name: str
    severity: Severity
    symptom: str
    evidence: dict[str, Any] = field(default_factory=dict)
    ruled_out: dict[str, str] = field(default_factory=dict)
    fixes: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for `findings.json`."""
        return asdict(self)
