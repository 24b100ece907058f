"""Joins the processes that an outer launcher has started: they share what rank 0 decides, and end together."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lit_mlfund.cluster import slurm
from lit_mlfund.cluster.rendezvous import Meeting, free_port, meet_by_slurm, meet_by_torchrun
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.environment import launcher_world
from lit_mlfund.startup.parent import end_with
from lit_mlfund.startup.signals import STOPPED

PATIENCE = "MLFUND_PATIENCE"  # seconds until a process that is not heard of is given up
_PATIENCE = 40
_WAIT_FOR_FIRST = 60.0  # seconds
# Tells in the process that is to tell it why another rank has ended all, and returns the exit code.
Ending = Callable[[dict[str, Any]], int]


class Peers:
    """Connects this process with the others through its watcher.

    Args:
        rank: of this process.
        world: number of processes.
        meeting: where rank 0 is found.
        patience: seconds until a process that is not heard of is given up.
        ending: what to do when another one has ended all.
    """

    def __init__(self, rank: int, world: int, meeting: Meeting, patience: int, ending: Ending):
        self.rank, self._ending, self._patience = rank, ending, patience
        self._meeting = meeting
        self._has_left = self._is_verdict = False
        self._lock = threading.Lock()
        self._hello: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._over = threading.Event()
        descriptor = meeting.listening.fileno() if meeting.listening is not None else None
        settings = {
            "rank": rank, "world": world, "process": os.getpid(), "token": meeting.token, "patience": patience,
            "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(), "addresses": meeting.addresses,
            "descriptor": descriptor,
        }  # fmt: skip
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", "lit_mlfund.cluster.watching", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=() if descriptor is None else (descriptor,),
        )
        if meeting.listening is not None:
            meeting.listening.close()
        threading.Thread(target=self._listen, name="peers", daemon=True).start()

    def agree(self, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what rank 0 decides; each process then finds the others as those of torchrun do.

        Raises:
            ConfigError: rank 0 could not decide.
        """
        if self.rank == 0:
            hello: dict[str, Any] = {"failed": True}
            try:
                hello = {"decided": decide(), "address": self._meeting.addresses[0][0], "port": free_port()}
            finally:
                self._send({"hello": hello})
        else:
            hello = self._receive()
            if "failed" in hello:
                raise ConfigError("the first process could not make the run folder")
        os.environ.update(
            MASTER_ADDR=str(hello["address"]), MASTER_PORT=str(hello["port"]), TORCHELASTIC_USE_AGENT_STORE="False"
        )  # fmt: skip
        decided: dict[str, Any] = hello["decided"]
        return decided

    def leave(self, code: int, text: str = "") -> None:
        """Tell the others that this process ends, and how.

        One that was stopped by a signal waits for rank 0: launchers may kill the others behind the first exit code
        that is not 0, and rank 0 has to write.
        """
        with self._lock:
            if self._has_left or self._is_verdict:
                return
            self._has_left = True
            self._send({"leave": {"code": code, "text": text}})
        if self.rank > 0 and code in STOPPED.values():
            self._over.wait(_WAIT_FOR_FIRST)

    def wait_for_verdict(self) -> None:
        """Wait to be ended: this process has failed because another one has."""
        time.sleep(self._patience + 10)

    def _receive(self) -> dict[str, Any]:
        while True:
            with suppress(queue.Empty):
                return self._hello.get(timeout=0.2)

    def _send(self, message: dict[str, Any]) -> None:
        if self._watcher.stdin is not None:
            with suppress(OSError):
                self._watcher.stdin.write(json.dumps(message).encode() + b"\n")
                self._watcher.stdin.flush()

    def _listen(self) -> None:
        for line in self._watcher.stdout or ():
            message = json.loads(line)
            if "hello" in message:
                self._hello.put(message["hello"])
            if "over" in message:
                self._over.set()
            if "end" in message:
                self._end(message["end"])

    def _end(self, verdict: dict[str, Any]) -> None:
        with self._lock:
            if self._has_left:
                return
            self._is_verdict = True
        code = int(verdict["code"])
        try:
            if verdict["teller"] == self.rank:
                code = self._ending(verdict)
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)


@contextmanager
def joined(ending: Ending) -> Iterator[Peers | None]:
    """Join the other processes of the launcher in a block; yield None where there are none.

    A block that ends without having left is one that has failed.

    Args:
        ending: tells why another process has ended all, where this one is to tell it, and returns the exit code.

    Raises:
        ConfigError: rank 0 is not found.
    """
    if (world := launcher_world()) is None:
        yield None
        return
    patience = _patience()
    if "RANK" in os.environ:
        end_with(os.getppid())  # an agent that was killed cannot end its workers
        meeting = meet_by_torchrun(world[0], patience)
    else:
        meeting = meet_by_slurm(world[0])
        os.environ.update(slurm.torchrun_environment())
    peers = Peers(*world, meeting, patience, ending)
    try:
        yield peers
    finally:
        peers.leave(3)


def _patience() -> int:
    text = os.environ.get(PATIENCE, str(_PATIENCE))
    if not text.isdigit() or int(text) == 0:
        raise ConfigError(f"{PATIENCE}: expected a number of seconds, got {text!r}")
    return int(text)
