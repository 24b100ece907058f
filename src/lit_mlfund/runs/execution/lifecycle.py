"""Freezes a checked configuration and executes it as a run; resumes or repeats a frozen run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lit_mlfund.cluster.world import check_world
from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.check import check
from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.config.schema import SECTIONS, VALUES
from lit_mlfund.runs.execution.crash import discard
from lit_mlfund.runs.execution.launch import launch
from lit_mlfund.runs.execution.run_folder import freeze, status_of
from lit_mlfund.runs.execution.strangers import load_checked
from lit_mlfund.runs.execution.together import Decision, new_folder, together
from lit_mlfund.runs.execution.unreported import finish_report, is_marked
from lit_mlfund.runs.execution.way_on import CRASHED
from lit_mlfund.startup.signals import STOPPED

RERUN_KEYS = ("name", "runs_dir")  # allowed beside run=: where a repetition is written, not what it does


def run_config(
    config: dict[str, Any],
    command: Sequence[str] = (),
    folder: Path | None = None,
    given: Sequence[str] = (),
) -> dict[str, Any]:
    """Freeze a checked configuration and execute it; return the contents of its `result.json`.

    Where a job of a scheduler is started again, its run is resumed, or only reported if it had ended.

    Args:
        config: a checked configuration.
        command: the command line as typed.
        folder: the run folder, in place of a new one. A run that was begun in it is continued; one that has ended is
            not repeated.
        given: the overrides of this job, where the command is that of a sweep.

    Raises:
        ConfigError, DataError, WriteError: the user's input or disk is wrong; no run folder is left.
    """
    check_world(config["trainer"])
    runs_dir = Path(config["runs_dir"]).expanduser().absolute()
    new_folders = [folder for folder in (runs_dir / task_name(config), runs_dir) if not folder.exists()]

    def decide() -> Decision:
        if folder is None:
            return new_folder(config, command, has_ended)
        if folder.exists():
            return Decision(str(folder), "ended" if has_ended(folder) else "resume")
        return Decision(str(freeze(config, command, folder, given)), "new")

    def execute(decision: Decision) -> dict[str, Any]:
        run_dir = Path(decision.folder)
        if decision.how == "ended":
            return _result_of(run_dir)
        try:
            return launch(run_dir, resume=decision.how == "resume")
        except Exception as error:
            if problems_of(error) is not None and decision.how == "new":
                discard(run_dir, error, trained=(run_dir / "checkpoints").exists())
            if not run_dir.exists():
                for made in new_folders:
                    with suppress(OSError):  # other runs may have been created there meanwhile
                        made.rmdir()
            raise

    return together(decide, execute)


def _result_of(run_dir: Path) -> dict[str, Any]:
    """Return the result of a run that has ended, after the rest of its report."""
    if is_marked(run_dir):
        return finish_report(run_dir)
    result: dict[str, Any] = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    return result


def run_again(
    run: str, overrides: dict[str, Any], command: Sequence[str] = (), trust: Sequence[str] = ()
) -> dict[str, Any]:
    """Resume the run in folder `run` if it was interrupted; repeat it in a new folder if it has ended.

    A run that was killed while it reported its result only reports again.

    Args:
        run: a run folder.
        overrides: values for keys of `RERUN_KEYS`, for a repetition.
        command: the command line, as typed.
        trust: packages of others that the run may name.

    Raises:
        ConfigError: there is no such run, its file is damaged or names what must not run, or `overrides` has other
            keys.
    """
    run_dir = Path(run).expanduser().absolute()
    config = load_checked(run_dir, trust, executed=True)
    problems = [
        f"{key}: a frozen run is executed as it is; beside run= only {' and '.join(RERUN_KEYS)} can be given"
        for key in overrides
        if key not in RERUN_KEYS
    ]
    ended = has_ended(run_dir)
    if overrides and not problems and not ended:
        problems = [
            f"{', '.join(overrides)}: {run_dir} was interrupted and is resumed in its own folder; leave it out"
        ]
    if ended and "runs_dir" not in overrides and _is_elsewhere(str(config.get("runs_dir")), run_dir):
        problems.append(
            f"runs_dir: {config['runs_dir']} is not where this run lies; say runs_dir=… for its repetition"
        )
    config |= overrides
    known = {key: value for key, value in config.items() if key in SECTIONS or key in VALUES}
    problems += [f"{run_dir / 'run.yaml'}: {problem}" for problem in check(known, catalog())]
    if problems:
        raise ConfigError(problems)
    if not ended:
        check_world(config["trainer"])
        return together(
            lambda: Decision(str(run_dir), "resume"), lambda decision: launch(run_dir, resume=True)
        )
    return run_config(config, command) if overrides or not is_marked(run_dir) else finish_report(run_dir)


def _is_elsewhere(runs_dir: str, run_dir: Path) -> bool:
    """Return whether a folder is neither below the working folder nor the one in which the run lies."""
    folder = Path(runs_dir).expanduser().absolute().resolve()
    return not folder.is_relative_to(Path.cwd().resolve()) and folder not in run_dir.resolve().parents


def has_ended(run_dir: Path) -> bool:
    """Return whether the run ended, successfully or not, rather than being stopped, killed or crashed."""
    return status_of(run_dir) not in (None, *STOPPED, CRASHED)
