"""Turns Ctrl-C and the signals of schedulers into a request to stop, from the first line of the program on.

The handlers stand before torch is imported. A signal raises `Stopped` where it arrives, so that whatever is half done
is cleared away; while a training is `deferred`, it is only noted, and the training stops behind its next step. The
exception is a SystemExit: no `except Exception` of a library swallows it, and uncaught it ends in the right exit code.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, PREEMPTED = 130, 143
# exit code of a run by its status where it was stopped and can be resumed
STOPPED = {"interrupted": INTERRUPTED, "preempted": PREEMPTED}
# schedulers send SIGUSR1 or SIGUSR2, submitit's choice, before the time limit
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_PATIENCE = b"\nstopping after this step; Ctrl-C again ends at once\n"


class Stopped(SystemExit):
    """Signals that the program was asked to stop; what was saved can be resumed.

    Args:
        reason: what was stopped, and where.
        number: the signal.
    """

    def __init__(self, reason: str = "stopped by a signal", number: int = signal.SIGTERM) -> None:
        super().__init__(INTERRUPTED if number == signal.SIGINT else PREEMPTED)
        self.reason, self.number = reason, number

    def __str__(self) -> str:
        return self.reason

    @property
    def status(self) -> str:
        """Return the status of a run that was stopped so."""
        return next(status for status, code in STOPPED.items() if code == self.code)


@contextmanager
def unmasked() -> Iterator[None]:
    """Raise `Stopped` where the clean-up of a library, cut short by it, has replaced it by an error of its own."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        passed: set[int] = set()  # an error may be its own cause
        while cause is not None and id(cause) not in passed:
            if isinstance(cause, Stopped):
                raise Stopped(cause.reason, cause.number) from None
            passed.add(id(cause))
            cause = cause.__cause__ or cause.__context__
        raise


class StopRequest:
    """Records the first of `SIGNALS` that arrives while it is installed."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_deferred = False
        self._ends_process = False
        self.is_installed = False

    @property
    def raised(self) -> bool:
        """Return whether a signal arrived."""
        return self.number is not None

    @contextmanager
    def installed(self, ends_process: bool = False) -> Iterator[None]:
        """Handle signals in the block, and as before behind it; a block inside another one changes nothing.

        Args:
            ends_process: the process belongs to the program: a second Ctrl-C ends it at once, and signals behind the
                block are ignored, as the exit code is decided. In a notebook it is a KeyboardInterrupt.
        """
        if self.is_installed or threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.getsignal(number) for number in SIGNALS}
        self.number, self.is_deferred, self._ends_process = None, False, ends_process
        self.install()
        try:
            yield
        finally:
            self.is_installed = False
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_IGN if ends_process else handler)

    def install(self) -> StopRequest:
        """Install the handlers, again where a library has put its own around them; only the main thread can.

        Ctrl-C stays ignored where it is, as in the background of a shell script.
        """
        if threading.current_thread() is threading.main_thread():
            self.is_installed = True
            for number in SIGNALS:
                if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT == self.number:
            if self._ends_process:
                os._exit(INTERRUPTED)
            raise KeyboardInterrupt
        if self.number is None:
            self.number = number
            if number == signal.SIGINT and self.is_deferred and self._ends_process:
                os.write(2, _PATIENCE)  # not print: the handler may interrupt one
        if not self.is_deferred:
            self.check()

    def check(self, where: str = "") -> None:
        """Raise `Stopped` if a signal arrived; for use where work is complete."""
        if self.number is not None:
            raise Stopped(f"stopped by a signal {where}".rstrip(), self.number)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Note signals in the block, no more: what it does must not be cut in half."""
        before, self.is_deferred = self.is_deferred, True
        try:
            yield
        finally:
            self.is_deferred = before


REQUEST = StopRequest()  # of this process
