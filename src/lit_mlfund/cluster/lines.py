"""Exchanges lines of JSON over sockets and pipes, without ever waiting."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MOST_BYTES = 2**20  # of one line; a stranger who sends more is left


class Lines:
    """Holds one connection.

    Args:
        descriptor: of a socket or of a pipe, which does not block.
        close: closes it.
    """

    def __init__(self, descriptor: int, close: Callable[[], object]):
        os.set_blocking(descriptor, False)
        self._descriptor, self._close, self._buffer = descriptor, close, b""
        self.is_open = True

    def fileno(self) -> int:
        """Return the descriptor, for selectors."""
        return self._descriptor

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; a line is shorter than what a socket takes at once."""
        if not self.is_open:
            return
        try:
            os.write(self._descriptor, json.dumps(message).encode() + b"\n")
        except BlockingIOError:  # a stopped process does not read; it will be ended
            pass
        except OSError:
            self.close()

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that have arrived; the connection is closed behind the last one, or behind no JSON."""
        while self.is_open:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self._buffer += data
            if not data or len(self._buffer) > MOST_BYTES:
                self.close()
        *lines, self._buffer = self._buffer.split(b"\n")
        messages = []
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                self.close()
                break
            messages.append(message)
        return messages

    def close(self) -> None:
        """Close the connection."""
        if self.is_open:
            self.is_open = False
            with suppress(OSError):
                self._close()
