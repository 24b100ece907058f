"""Watches over rank 0, gathers how the others are, and judges."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from lit_mlfund.cluster.lines import Lines
from lit_mlfund.cluster.watcher import ENDED, GONE, HALTED, Watcher
from lit_mlfund.startup.signals import STOPPED

_GRACE_TO_STOP = 30  # turns that the others have to save when one was stopped by a signal


class _Peer:
    """Holds what rank 0 knows of one rank."""

    def __init__(self) -> None:
        self.lines: Lines | None = None
        self.host = ""
        self.silent = self.halted = 0  # turns
        self.left: dict[str, Any] | None = None
        self.is_gone = False


class FirstWatcher(Watcher):
    """Watches over rank 0, and gathers what the others say."""

    def __init__(self, settings: dict[str, Any]):
        super().__init__(settings)
        self._listening = socket.socket(fileno=int(settings["descriptor"]))
        self._listening.setblocking(False)
        self._strangers: list[Lines] = []
        self._peers = {rank: _Peer() for rank in range(1, self.world)}
        self._own = _Peer()
        self._hello: dict[str, Any] | None = None
        self._turns_of_stop = 0

    def connections(self) -> list[Any]:
        """Return what may be read from."""
        open_peers = [peer.lines for peer in self._peers.values() if peer.lines and peer.lines.is_open]
        return [*super().connections(), self._listening, *self._strangers, *open_peers]

    def read(self, connection: Any) -> None:
        """Take in what has arrived on a connection."""
        if connection is self._listening:
            with suppress(OSError):
                client, _ = self._listening.accept()
                self._strangers.append(Lines(client.fileno(), client.close))
        elif connection in self._strangers:
            messages = connection.receive()
            if messages or not connection.is_open:
                self._strangers.remove(connection)
                self._admit(connection, messages)
        elif connection is self.parent:
            super().read(connection)
        else:
            peer = next(peer for peer in self._peers.values() if peer.lines is connection)
            for message in connection.receive():
                self._hear(peer, message)

    def _admit(self, connection: Lines, messages: list[dict[str, Any]]) -> None:
        first = messages[0] if messages else {}
        peer = self._peers.get(first.get("rank", -1))
        if first.get("token") != self.token or peer is None or peer.lines is not None:
            connection.close()
            return
        peer.lines, peer.host = connection, str(first.get("host", ""))
        connection.send({"welcome": True})
        if self._hello is not None:
            connection.send({"hello": self._hello})
        for message in messages[1:]:
            self._hear(peer, message)

    def _hear(self, peer: _Peer, message: dict[str, Any]) -> None:
        peer.silent = 0
        state = message.get("state")
        peer.halted = peer.halted + 1 if state == HALTED else 0
        peer.is_gone |= state == GONE
        if "leave" in message:
            peer.left = message["leave"]

    def hear_parent(self, message: dict[str, Any]) -> None:
        """Take in what the process says: what is to be told to all, and its end."""
        if "hello" in message:
            self._hello = message["hello"]
            self._tell(message)
        self._own.left = self.left

    def _tell(self, message: dict[str, Any]) -> None:
        for peer in self._peers.values():
            if peer.lines is not None:
                peer.lines.send(message)

    def exchange(self, state: str) -> None:
        """Tell the others, and look for one that is lost."""
        self._hear(self._own, {"state": state})
        for peer in self._peers.values():
            peer.silent += 1
        if self.verdict is None and (verdict := self._find()) is not None:
            self.judge(verdict)
        self._tell({"over": True} if state == GONE else {"beat": True})
        if self.verdict is not None:
            self._tell({"end": self.verdict})

    def _find(self) -> dict[str, Any] | None:
        everybody = {0: self._own, **self._peers}
        stops = []
        for rank, peer in everybody.items():
            if peer.left is not None:
                code = int(peer.left["code"])
                if code in STOPPED.values():
                    stops.append({"rank": rank, "teller": 0, **peer.left})
                elif code:
                    return {"rank": rank, "teller": 0, **peer.left}
            elif rank and peer.lines is None:
                continue
            elif peer.is_gone or (peer.lines is not None and not peer.lines.is_open):
                return self.lost(rank, ENDED, peer.host if rank else self.host)
            elif peer.halted > self.patience:
                return self.lost(rank, "is stopped", peer.host if rank else self.host)
            elif peer.silent > self.patience:
                return self.lost(rank, "is not heard of any more", peer.host)
        missing = [rank for rank, peer in self._peers.items() if peer.lines is None]
        if missing and max(self._peers[rank].silent for rank in missing) > self.patience:
            names = ", ".join(map(str, missing))
            return self.lost(missing[0], "") | {
                "text": f"rank{'s' * (len(missing) > 1)} {names} of {self.world} did not come"
                f" within {self.patience} seconds"
            }
        self._turns_of_stop += bool(stops) and any(peer.left is None for peer in everybody.values())
        return stops[0] if self._turns_of_stop > _GRACE_TO_STOP else None

    def is_done(self) -> bool:
        """Return whether all have come and gone; those that come late still have to hear what was decided."""
        return all(
            peer.is_gone
            or (not peer.lines.is_open if peer.lines is not None else peer.silent > self.patience)
            for peer in self._peers.values()
        )
