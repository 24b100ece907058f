"""Watches over another rank than 0, and tells the watcher of rank 0."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from lit_mlfund.cluster.lines import Lines
from lit_mlfund.cluster.watcher import ENDED, Watcher


class OtherWatcher(Watcher):
    """Watches over another rank than 0."""

    def __init__(self, settings: dict[str, Any]):
        super().__init__(settings)
        self._addresses = [(str(host), int(port)) for host, port in settings["addresses"]]
        self._tried = 0
        self._first: Lines | None = None
        self._is_welcome = self._is_over_there = False
        self._silent = self._asked = 0

    def connections(self) -> list[Any]:
        """Return what may be read from."""
        return [*super().connections(), *([self._first] if self._first and self._first.is_open else [])]

    def read(self, connection: Any) -> None:
        """Take in what has arrived on a connection."""
        if connection is self.parent:
            super().read(connection)
            return
        for message in connection.receive():
            self._silent = 0
            self._is_welcome |= "welcome" in message
            if "hello" in message:
                self.to_parent(message)
            if "end" in message:
                self.judge(message["end"])
            if "over" in message:
                self._end_there()

    def _end_there(self) -> None:
        if not self._is_over_there:
            self._is_over_there = True
            self.to_parent({"over": True})

    def hear_parent(self, message: dict[str, Any]) -> None:
        """Pass on what the process says of its end."""
        if self._first is not None and self._is_welcome:
            self._first.send(message)

    def exchange(self, state: str) -> None:
        """Tell rank 0, or look for it where it is not found yet."""
        self._silent += 1
        if not self._is_welcome:
            self._look()
        elif self._first is not None and self._first.is_open:
            self._first.send({"state": state})
        elif self.left is None and self.verdict is None:
            self.judge(self.lost(0, ENDED))
        else:
            self._end_there()
        if self._silent > self.patience and self.left is None:
            if self._is_welcome:
                self.judge(self.lost(0, "is not heard of any more"))
            else:
                where = " or ".join(dict.fromkeys(f"{host}:{port}" for host, port in self._addresses[:1]))
                self.judge(self.lost(0, f"does not answer at {where} within {self.patience} seconds"))

    def _look(self) -> None:
        """Try the next address, where the last one has not answered."""
        self._asked += 1
        if self._first is not None and self._first.is_open and self._asked < 3:
            return
        if self._first is not None:
            self._first.close()
        address = self._addresses[self._tried % len(self._addresses)]
        self._tried, self._asked = self._tried + 1, 0
        with suppress(OSError):
            client = socket.create_connection(address, timeout=0.5)
            self._first = Lines(client.fileno(), client.close)
            self._first.send({"token": self.token, "rank": self.rank, "host": self.host})
            if self.left is not None:
                self._first.send({"leave": self.left})
