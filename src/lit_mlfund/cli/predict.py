"""Implements `mlfund predict`, which applies a finished run to a new file."""

from __future__ import annotations

from pathlib import Path

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look_at_run
from lit_mlfund.cli.keys import finished_run, new_file, read_keys, take_trust
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say_json, say_result

_FORMATS = (".parquet", ".csv")


def run(arguments: list[str]) -> int:
    """Check the arguments, predict, print a summary as JSON, and return the exit code."""
    arguments, trust = take_trust(arguments)
    values = read_keys(arguments, ("run", "data.path", "output", "checkpoint"))
    run_dir, checkpoint, problems = finished_run(values)
    path, missing = new_file(values)
    if path is None:
        missing = ["data.path is required: pass data.path=<a file to predict>"]
    output = Path(values.get("output", "predictions.parquet")).expanduser().absolute()
    if output.suffix not in _FORMATS:
        problems.append(f"output: expected a name that ends in {' or '.join(_FORMATS)}, got {output.name}")
    elif not output.parent.is_dir():
        problems.append(f"output: there is no folder {output.parent}")
    elif output.is_dir() or str(output) == path:
        problems.append(f"output: {output} is {'a folder' if output.is_dir() else 'the file to predict'}")
    if problems + missing:
        raise ConfigError(problems + missing)
    first_look_at_run(run_dir, path, labelled=False, trust=trust)
    with importing():
        from lit_mlfund.data.reading.write import first_rows
        from lit_mlfund.reports.terminal import prediction_text
        from lit_mlfund.runs.execution.finished_run import Run

    assert path is not None
    result = Run(run_dir, checkpoint, trust).predict_to(path, str(output))
    told = say_result(prediction_text(result, first_rows(output)))
    return 0 if say_json(to_json(result)) and told else 2
