"""Locks a run folder for one process at a time: resuming a run that is still executed would corrupt it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.run_folders.locks import LOCK_FILE


@contextmanager
def run_lock(run_dir: Path) -> Iterator[int]:
    """Lock a run folder and yield the descriptor that holds the lock.

    The system releases the lock when all processes that have the descriptor have ended, however they end: workers that
    inherit it keep the folder locked behind a parent that was killed. The lock lies on a file of its own, which nothing
    replaces, and which is open for writing: NFS grants an exclusive lock on no other.

    On file systems without locks it has no effect.

    Raises:
        ConfigError: another process holds the lock.
    """
    with open(run_dir / LOCK_FILE, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"run: another process is at work in {run_dir}") from error
        except OSError:
            pass
        yield file.fileno()


def is_locked(run_dir: Path) -> bool:
    """Return whether a process is at work in a run folder; False where there is none."""
    try:
        with run_lock(run_dir):
            return False
    except ConfigError:
        return True
    except OSError:
        return False
