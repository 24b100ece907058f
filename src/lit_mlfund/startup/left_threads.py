"""Calls a function in a thread that can be left: signals, progress and limits of time do not wait for it."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from lit_mlfund.startup.environment import launcher_world

Result = TypeVar("Result")
_TICK = 0.2  # seconds between two calls of `tick`
_left: list[threading.Thread] = []


class _Left(SystemExit):
    """Ends a thread that nobody waits for any more."""


def call_within(
    seconds: float | None,
    function: Callable[[], Result],
    tick: Callable[[float], None] = lambda elapsed: None,
) -> Result:
    """Return what `function` returns, or raise what it raises.

    Args:
        seconds: limit of time; None for none.
        function: called in a thread. When that is left, Python code in it ends at its next line; a call of a compiled
            library runs on, unheeded.
        tick: called several times a second with the seconds so far.

    Raises:
        TimeoutError: the limit was reached.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["result"] = function()
        except BaseException as error:
            outcome["error"] = error

    thread, started = threading.Thread(target=run, daemon=True), time.monotonic()
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_TICK)
            elapsed = time.monotonic() - started
            if thread.is_alive():
                tick(elapsed)
                if seconds is not None and elapsed > seconds:
                    raise TimeoutError(f"not done within {seconds:g} s")
    finally:
        if thread.is_alive():
            _left.append(thread)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Left)
            )
    if "error" in outcome:
        raise outcome["error"]
    result: Result = outcome["result"]
    return result


def end_process(code: int) -> int:
    """Return `code`, or exit with it here where Python's own end might crash or never come.

    It might crash if a thread was left in a library, and libraries wait for other processes that are gone.
    """
    if any(thread.is_alive() for thread in _left) or (code and launcher_world() is not None):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code
