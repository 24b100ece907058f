"""Finds where the process of rank 0 waits for the others: nothing has to be configured for it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lit_mlfund.cluster import slurm
from lit_mlfund.config.errors import ConfigError

_FIRST_PORT, _NUM_PORTS, _CANDIDATES = 20000, 12000, 16


@dataclass(frozen=True)
class Meeting:
    """Says where the processes meet.

    addresses  host and port of rank 0, in the order in which they are tried
    token      a word that only they know
    listening  of rank 0, the socket at which it waits
    store      where it is announced, which has to live until all have read it
    """

    addresses: list[tuple[str, int]]
    token: str
    listening: socket.socket | None = None
    store: Any = None


def meet_by_slurm(rank: int) -> Meeting:
    """Return the meeting of the processes of srun: the first free one of some ports that follow from the step."""
    step = slurm.step_name()
    start = zlib.crc32(step.encode())
    ports = [_FIRST_PORT + (start + 761 * number) % _NUM_PORTS for number in range(_CANDIDATES)]
    host = slurm.first_address()
    listening = _listen(ports) if rank == 0 else None
    return Meeting([(host, port) for port in ports], step, listening)


def meet_by_torchrun(rank: int, patience: float) -> Meeting:
    """Return the meeting of the processes of torchrun, which is announced in the store of its agents."""
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=patience)))
    store = PrefixStore("lit_mlfund", store)
    if rank == 0:
        listening, token = _listen([0]), secrets.token_hex(8)
        address = os.environ["MASTER_ADDR"], int(listening.getsockname()[1])
        store.set("meeting", json.dumps([*address, token]))
        return Meeting([address], token, listening, store)
    deadline = time.monotonic() + patience
    while True:  # where agents were replaced, that of an earlier attempt may still be announced
        try:
            host, port, token = json.loads(store.get("meeting"))
            with suppress(OSError), socket.create_connection((host, port), timeout=1):
                return Meeting([(host, port)], token)
        except RuntimeError as error:  # of the store
            raise ConfigError(f"torchrun: the first process does not answer: {error}") from error
        if time.monotonic() > deadline:
            raise ConfigError(f"torchrun: the first process does not answer at {host}:{port}")
        time.sleep(0.5)


def _listen(ports: list[int]) -> socket.socket:
    for port in ports:
        listening = socket.socket()
        try:
            listening.bind(("", port))
            listening.listen(1024)
            return listening
        except OSError:
            listening.close()
    raise ConfigError(f"rank 0 finds no free port among {', '.join(map(str, ports))}")


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])
