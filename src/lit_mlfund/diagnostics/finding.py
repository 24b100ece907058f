"""Defines a finding: one diagnosis of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """Describes one problem, the evidence for it, and what to change.

    name        short and stable, such as `worse_than_reference`
    severity    info, warning or error
    symptom     one sentence for a person
    evidence    the measurements, with their intervals and the threshold that they were compared with
    ruled_out   rival diagnoses, each with the reason why it does not apply
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
        """Return the finding as plain Python, for `findings.json`."""
        return asdict(self)


def changed_data(changes: list[str]) -> Finding:
    """Report that files have changed since the run read them."""
    return Finding(
        name="changed_data",
        severity="warning",
        symptom="; ".join(changes) + ".",
        ruled_out={
            "figures of other rows": "training and measurement used the rows of the files as they were first read"
        },
    )


def doctor_failed(error: Exception) -> Finding:
    """Report that the doctor itself failed."""
    reason = f"{type(error).__name__}: {error}"
    return Finding("doctor_failed", "warning", f"The findings could not be made: {reason}.")
