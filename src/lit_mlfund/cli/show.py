"""Implements `mlfund show`, which says again what a run said, and how its configuration differs from the defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.keys import given_run, read_keys
from lit_mlfund.config.errors import ConfigError, first_line
from lit_mlfund.run_folders.differences import Differences, config_differences
from lit_mlfund.run_folders.groups import key_of
from lit_mlfund.run_folders.locks import locked_files
from lit_mlfund.run_folders.record import Record, read, read_record
from lit_mlfund.startup.streams import OUTPUT, say_json, say_result


def run(arguments: list[str]) -> int:
    """Check the arguments, read and print the run, and return the exit code."""
    folder = given_run(read_keys(arguments, ("run",)))
    from lit_mlfund.runs.execution.run_folder import load_frozen

    config = load_frozen(folder)
    record = read_record(folder, locked_files())
    if record is None:
        raise ConfigError(f"run: {folder / 'result.json'} is damaged")
    changed, problem = _changed(record, config)
    told = say_result(_text(record, changed, problem))
    result = {"run": folder, **read(folder / "result.json"), "status": record.status, "given": record.given}
    configuration = {key: {"value": value, "default": default} for key, (default, value) in changed.items()}
    return 0 if say_json(to_json({**result, "configuration": configuration})) and told else 2


def _changed(record: Record, config: dict[str, Any]) -> tuple[Differences, str]:
    """Return the default and the value of each key that has another one, and why the defaults are not known.

    Defaults are those of the options that the run was given, such as `model=linear`.
    """
    from lit_mlfund.config.compose import Composer

    try:
        composer = Composer()
        chosen = [line for line in record.given if key_of(line) in composer.catalog.groups]
        defaults = composer.compose(chosen).config
    except ConfigError as error:
        return {}, f"its defaults are not known here: {first_line(error)}"
    return config_differences([defaults, config], {}), ""


def _text(record: Record, changed: Differences, problem: str) -> str:
    from lit_mlfund.reports.tables import clip
    from lit_mlfund.reports.terminal import run_text, start_text, table_text, wrap

    width = OUTPUT.screen.text_width
    folder = record.folder
    started = (folder / "provenance.json").exists()
    parts = [_told(folder, lambda: start_text(folder)) if started else f"run    {folder}"]
    parts.append(wrap(f"given  {' '.join(record.given) or 'nothing'}", width))
    if problem:
        parts.append(wrap(problem, width))
    elif changed:
        rows = [[key, clip(value, 40), clip(default, 40)] for key, (default, value) in changed.items()]
        parts += ["", table_text(["configuration", "value", "default"], rows, rest="with --json")]
    else:
        parts.append("all values are the defaults of what was given")
    parts += ["", _ended(record), _told(folder, lambda: run_text(folder))]
    return "\n".join(parts).rstrip()


def _ended(record: Record) -> str:
    reason = read(record.folder / "result.json").get("reason")
    name, value = record.objective
    best = f"; best {name} {value:.4g}" if value is not None else ""
    seconds = f" after {record.seconds:,.0f} s" if record.seconds is not None else ""
    return f"{record.status}{seconds}{best}{f': {reason}' if reason else ''}"


def _told(folder: Path, text: Callable[[], str]) -> str:
    """Return a text from the files of a run; ConfigError where they are not what a run writes."""
    try:
        return text()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"run: a file of {folder} is damaged: {first_line(error)}") from error
