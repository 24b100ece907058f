"""Implements `mlfund evaluate`, which measures a finished run."""

from __future__ import annotations

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look_at_run
from lit_mlfund.cli.keys import finished_run, new_file, read_keys, take_trust
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say_json, say_result


def run(arguments: list[str]) -> int:
    """Check the arguments, measure, print the result as JSON, and return the exit code."""
    arguments, trust = take_trust(arguments)
    values = read_keys(arguments, ("run", "split", "data.path", "checkpoint"))
    run_dir, checkpoint, problems = finished_run(values)
    path, missing = new_file(values)
    split = values.get("split")
    if split not in (None, "val", "test"):
        problems.append(f"split: expected val or test, got {split}")
    if split is not None and path is not None:
        problems.append("split: a new file has no splits; give split= or data.path=, not both")
    if problems + missing:
        raise ConfigError(problems + missing)
    first_look_at_run(run_dir, path, labelled=True, trust=trust)
    with importing():
        from lit_mlfund.reports.terminal import evaluation_text
        from lit_mlfund.runs.execution.finished_run import Run

    result = Run(run_dir, checkpoint, trust).evaluate(path, split=split or "test")
    told = say_result(evaluation_text(result))
    return 0 if say_json(to_json(result)) and told else 2
