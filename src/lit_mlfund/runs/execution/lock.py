"""One process at a time at work in a run folder: resuming a run that is still alive would spoil it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.run_folder import RUN_FILE


@contextmanager
def alone_in(run_dir: Path) -> Iterator[None]:
    """Hold a run folder; the system lets go of it when this process ends, however it ends.

    Raises ConfigError when another process holds it. File systems that know no locks are taken at their word.
    """
    with open(run_dir / RUN_FILE) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"run: another process is at work in {run_dir}") from error
        except OSError:
            pass
        yield
