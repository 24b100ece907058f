"""Ends a worker with the process that started it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PARENT = "MLFUND_PARENT"  # id of the process that started this one and will wait for it
_EVERY = 1.0  # seconds between two looks at the parent
_PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent ends


def end_with_parent() -> None:
    """End this process within seconds after its parent has ended; do nothing where no parent is named.

    A parent that was killed cannot end its workers. They would train on, unseen, in a folder that somebody resumes.
    """
    parent = os.environ.pop(PARENT, None)  # not for processes that this one starts
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    end_with(int(parent))


def end_with(parent: int) -> None:
    """End this process within seconds after its parent has ended."""
    threading.Thread(target=_watch, args=(parent,), name="watch parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)
