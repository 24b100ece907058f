"""Shares one run folder among all processes of an outer launcher: the first creates it and announces it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from lit_mlfund.atomic import write_text
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.environment import launcher_world

TIMEOUT = 600.0  # seconds to wait for the first process
_FAILED = "-"


def shared_run_folder(make: Callable[[], Path], runs_dir: Path) -> Path:
    """Return the folder that the first process creates with `make`; a single process just calls it.

    Under torchrun it is announced through the launcher's own store, under srun by a file in `runs_dir`.

    Raises:
        ConfigError: on the other processes, if the first one could not create it or did not announce it in time.
    """
    world = launcher_world()
    if world is None:
        return make()
    announce, receive = _store_channel() if "RANK" in os.environ else _file_channel(runs_dir)
    if world[0] > 0:
        announced = receive()
        if announced == _FAILED:
            raise ConfigError("the first process could not make the run folder")
        return Path(announced)
    try:
        folder = make()
    except BaseException:
        announce(_FAILED)
        raise
    announce(str(folder))
    return folder


_Channel = tuple[Callable[[str], None], Callable[[], str]]


def _store_channel() -> _Channel:
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=TIMEOUT)))
    prefixed = PrefixStore(f"lit_mlfund/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    return lambda folder: prefixed.set("run", folder), lambda: prefixed.get("run").decode()


def _file_channel(runs_dir: Path) -> _Channel:
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    file = runs_dir / ".launch" / "-".join(os.environ.get(name, "0") for name in names)

    def announce(folder: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, folder)

    def receive() -> str:
        deadline = time.monotonic() + TIMEOUT
        while not file.exists():
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"the first process has not announced its run folder in {file} for {TIMEOUT:.0f} s"
                )
            time.sleep(0.1)
        return file.read_text()

    return announce, receive
