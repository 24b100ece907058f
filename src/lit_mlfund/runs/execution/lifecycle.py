"""The life of one training run: compose, check, freeze, execute; or take up a frozen one again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.check import check
from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.config.schema import SECTIONS, VALUES
from lit_mlfund.runs.execution.launch import launch
from lit_mlfund.runs.execution.rendezvous import agree
from lit_mlfund.runs.execution.run_folder import freeze, load_frozen

BESIDE_RUN = ("name", "runs_dir")  # what may be given beside run=: where a repetition goes, not what it does


def run_config(config: dict[str, Any], command: Sequence[str] = ()) -> dict[str, Any]:
    """Freeze a checked configuration and execute it; the contents of its `result.json`.

    Raises:
        ConfigError, DataError, WriteError: the user's input or disk is wrong; no run folder is left.
    """
    runs_dir = Path(config["runs_dir"]).expanduser().absolute()
    made = [folder for folder in (runs_dir / task_name(config), runs_dir) if not folder.exists()]
    run_dir = agree(lambda: freeze(config, command), runs_dir)
    try:
        return launch(run_dir, resume=False)
    except Exception as error:
        if problems_of(error) is not None and not (run_dir / "checkpoints" / "last.ckpt").exists():
            shutil.rmtree(run_dir, ignore_errors=True)
            for folder in made:
                with suppress(OSError):  # others may have put their runs there
                    folder.rmdir()
        raise


def run_again(run: str, beside: dict[str, Any], command: Sequence[str] = ()) -> dict[str, Any]:
    """Resume the run in folder `run` where it was interrupted; repeat it in a new folder when it had ended.

    Args:
        run: a run folder.
        beside: values of `BESIDE_RUN` for a repetition.
        command: what was typed.

    Raises:
        ConfigError: no such run, its file is damaged, or `beside` holds anything else.
    """
    run_dir = Path(run).expanduser().absolute()
    config = load_frozen(run_dir)
    problems = [
        f"{key}: a frozen run is executed as it is; beside run= only {' and '.join(BESIDE_RUN)} can be given"
        for key in beside
        if key not in BESIDE_RUN
    ]
    ended = _ended(run_dir)
    if beside and not problems and not ended:
        problems = [
            f"{', '.join(beside)}: {run_dir} was interrupted and is resumed in its own folder; leave it out"
        ]
    config |= beside
    known = {key: value for key, value in config.items() if key in SECTIONS or key in VALUES}
    problems += [f"{run_dir / 'run.yaml'}: {problem}" for problem in check(known, catalog())]
    if problems:
        raise ConfigError(problems)
    return run_config(config, command) if ended else launch(run_dir, resume=True)


def _ended(run_dir: Path) -> bool:
    """Whether the run came to its end, good or bad; one that was stopped or killed has not."""
    try:
        return bool(json.loads((run_dir / "result.json").read_text())["status"] != "preempted")
    except (OSError, ValueError, KeyError):
        return False
