"""Opens runs from Python: trains one as the command line does, or loads an existing one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from lit_mlfund.config.compose import Composer
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.run_folders.names import find_run
from lit_mlfund.runs.execution.finished_run import Run
from lit_mlfund.runs.execution.lifecycle import run_config
from lit_mlfund.runs.execution.strangers import strange_packages

__all__ = ["Run", "load_run", "train"]


def train(
    overrides: str | Iterable[str] = (), *, config_dir: str | Path | None = None, verbose: bool = True
) -> Run:
    """Train like `mlfund train` with the same overrides, and open the run folder.

    Args:
        overrides: Hydra overrides, such as `["task=binary", "optim.lr=3e-4"]`, or the text of a command line.
        config_dir: an additional folder of configuration files.
        verbose: whether to print what the command line prints: the data, a line per epoch, the results.

    Raises:
        ConfigError: the configuration is wrong; the message lists all problems.
        DataError: the data do not fit.
        RuntimeError: the training failed, for example by diverging; the message names the folder.
        KeyboardInterrupt: it was interrupted; the message says how to go on from what was saved.
    """
    lines = shlex.split(overrides) if isinstance(overrides, str) else list(overrides)
    composer = Composer(None if config_dir is None else str(config_dir), lines)
    composed = composer.checked(lines)
    if composed.config.get("sweep"):
        raise ConfigError("sweep: a sweep is more than one run; start it with `mlfund train`")
    with ExitStack() as silence:
        if not verbose:
            silence.enter_context(redirect_stdout(StringIO()))
            silence.enter_context(redirect_stderr(StringIO()))
        result = run_config(composed.config, ["mlfund", "train", *lines])
    if result["status"] == "interrupted":
        raise KeyboardInterrupt(result["reason"])
    if result["status"] != "done":
        raise RuntimeError(f"{result['status']}: {result.get('reason', '')} ({result['run']})")
    return Run(result["run"], trust=strange_packages(composed.config))


def load_run(folder: str | Path, checkpoint: str = "best", *, trust: Iterable[str] = ()) -> Run:
    """Open the run in a folder.

    Args:
        folder: a run folder, such as `runs/binary/20260101-120000-binary-1a2b3c`, or a name that finds one below
            `runs`: `latest`, `latest-2`, a piece of a name, `sweep-name/3`.
        checkpoint: `best`, `last` or the path of another one.
        trust: packages of others, such as `["my_package"]`, whose classes the run may name.

    Raises:
        ConfigError: there is no such run, or it would build what it must not.
    """
    return Run(find_run(str(folder)), checkpoint, trust)
