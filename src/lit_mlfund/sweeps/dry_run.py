"""Implements `--dry-run`: tells what a sweep would do and how long it may take, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from lit_mlfund.reports.comparison.sweep_table import varied
from lit_mlfund.reports.tables import number
from lit_mlfund.reports.terminal import table_text
from lit_mlfund.startup.streams import say_result
from lit_mlfund.sweeps.plan import Plan, plan_sweep
from lit_mlfund.sweeps.sweep import runner_of
from lit_mlfund.sweeps.sweep_folder import ENDED_WELL


def dry_run(
    lines: Sequence[str], config_dir: str | None, command: Sequence[str] = (), fresh: bool = False
) -> dict[str, Any]:
    """Check a sweep, print its jobs with their status, and return the counts.

    The time is what the jobs that were done took, for each that is left. Of a search the jobs so far are listed.

    Raises:
        ConfigError: with the problems of all combinations.
    """
    plan = plan_sweep(lines, config_dir, command, fresh)
    runner = runner_of(plan) if plan.first.config.get("sweep") else None
    listed = plan.is_enumerated and (runner is None or runner.runs_combinations)
    known = {} if fresh else plan.sweep.results()
    overrides = {n: result["overrides"] for n, result in known.items()}
    if listed:
        overrides = {n: combination.overrides for n, combination in enumerate(plan.combinations)}
    status = {n: known[n]["status"] if n in known else _status(plan, n) for n in overrides}
    keys, values = varied(list(overrides.values()))
    rows = [
        [str(n), status[n], number(known.get(n, {}).get("seconds")), *(settings.get(key, "") for key in keys)]
        for n, settings in zip(overrides, values)
    ]
    say_result(table_text(["job", "status", "seconds", *keys], rows, rest="at a wider terminal"))
    done = [n for n in overrides if status[n] in ENDED_WELL]
    took = [float(known[n]["seconds"]) for n in done if known[n].get("seconds") is not None]
    left = len(overrides) - len(done) if listed else None
    seconds = round(fmean(took) * left, 1) if took and left is not None else None
    if seconds:
        say_result(f"about {seconds:.0f} s for the {left} jobs left, one after the other")
    return {
        "sweep": str(plan.folder),
        "jobs": len(overrides) if listed else None,
        "done": len(done),
        "failed": list(status.values()).count("failed"),
        "left": left,
        "seconds": seconds,
    }


def _status(plan: Plan, number: int) -> str:
    """Return what is known of a job without a result."""
    if (holder := plan.sweep.holder(number)) is not None:
        return f"at work: {holder}"
    begun = plan.sweep.exists() and plan.sweep.run_folder(number, plan.combinations[number].config).exists()
    return "interrupted" if begun else "to do"
