"""Watches over one of several processes, from a process of its own (`watching.py` starts it).

A process that is stopped, killed or busy cannot say so itself. Each has a watcher beside it, which is connected with
that of rank 0; they tell each other every second how their processes are. Where one is missing, has raised, is
stopped or gone, the watcher of rank 0 passes one verdict to all, who end; a process that does not is killed.

Time is counted in turns of the loop: where the scheduler suspends the whole job, no time passes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import suppress
from typing import Any

from lit_mlfund.cluster.lines import Lines
from lit_mlfund.startup.processes import is_stopped

FAILED = 3
_TURN = 1.0  # seconds
_GRACE_TO_END = 4  # turns that a process has to end by itself
_LIMIT = 60  # turns that a watcher stays behind its process
ALIVE, HALTED, GONE = "alive", "halted", "gone"
ENDED = "was ended from outside, as a machine does that is out of memory"


class Watcher:
    """Watches over the process that has started it, of rank `rank`.

    Args:
        settings: `rank` and `world`; `process`, its id; `token`, which tells the peers from strangers; `patience`,
            turns until one that is not heard of is given up; `host`, as it is named in messages; for rank 0
            `descriptor`, of the listening socket, for the others `addresses` to try.
    """

    def __init__(self, settings: dict[str, Any]):
        self.rank, self.world = int(settings["rank"]), int(settings["world"])
        self.process, self.token = int(settings["process"]), settings["token"]
        self.patience, self.host = int(settings["patience"]), settings["host"]
        self.parent = Lines(0, lambda: os.close(0))
        self.left: dict[str, Any] | None = None  # what the process has said of its end
        self.verdict: dict[str, Any] | None = None
        self._turns_of_verdict = self._turns_behind = 0

    def run(self) -> None:
        """Watch until the process has ended and nobody else needs to hear of it."""
        last = time.monotonic()
        while not self._is_over():
            waiting = [connection for connection in self.connections() if connection.fileno() >= 0]
            readable, _, _ = select.select(waiting, [], [], max(0.0, last + _TURN - time.monotonic()))
            for connection in readable:
                self.read(connection)
            if time.monotonic() - last >= _TURN:
                last = time.monotonic()
                self._turn()

    def connections(self) -> list[Any]:
        """Return what may be read from."""
        return [self.parent] if self.parent.is_open else []

    def read(self, connection: Any) -> None:
        """Take in what has arrived on a connection."""
        for message in self.parent.receive():
            if "leave" in message:
                self.left = message["leave"]
            self.hear_parent(message)

    def hear_parent(self, message: dict[str, Any]) -> None:
        """Take in what the process says."""

    def state(self) -> str:
        """Return how the process is."""
        if os.getppid() != self.process:
            return GONE
        return HALTED if is_stopped(self.process) else ALIVE

    def exchange(self, state: str) -> None:
        """Tell the others, and look for one that is lost; once every turn."""

    def judge(self, verdict: dict[str, Any]) -> None:
        """Pass a verdict to the process."""
        if self.verdict is None:
            self.verdict = verdict
            self.to_parent({"end": verdict})

    def to_parent(self, message: dict[str, Any]) -> None:
        """Send a message to the process."""
        with suppress(OSError):
            os.write(1, json.dumps(message).encode() + b"\n")

    def lost(self, rank: int, what: str, host: str = "") -> dict[str, Any]:
        """Return the verdict on a rank that has not said anything of its end; the first of the others tells it."""
        where = f" on {host}" if host else ""
        text = f"rank {rank} of {self.world}{where} {what}"
        return {"rank": rank, "code": FAILED, "text": text, "teller": int(rank == 0)}

    def _turn(self) -> None:
        state = self.state()
        self.exchange(state)
        if self.verdict is not None and state != GONE:
            self._turns_of_verdict += 1
            is_at_fault = self.verdict["rank"] == self.rank and state == HALTED
            if (is_at_fault and self._turns_of_verdict > 1) or self._turns_of_verdict > _GRACE_TO_END:
                with suppress(OSError):
                    os.kill(self.process, signal.SIGKILL)
        self._turns_behind += state == GONE

    def _is_over(self) -> bool:
        return self._turns_behind > 0 and (self.is_done() or self._turns_behind > _LIMIT)

    def is_done(self) -> bool:
        """Return whether nobody needs this watcher any more, now that its process is gone."""
        return True
