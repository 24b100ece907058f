"""Detects whether the files of a run have changed since they were read."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from lit_mlfund.data.reading.read import find_file

PROBES = 16  # blocks of a file that are hashed, of 4 KiB each


@dataclass(frozen=True)
class Signature:
    """Identifies the state of a file: path, size, modification time, and a hash of some of its bytes."""

    path: str
    size: int
    changed: int  # nanoseconds
    probes: str

    @classmethod
    def of(cls, path: str) -> Self:
        """Sign the file as it is now; raise a DataError if there is none."""
        file = find_file(path).resolve()
        stat = file.stat()
        digest = hashlib.blake2b(digest_size=16)
        with open(file, "rb") as content:
            for offset in np.linspace(0, max(stat.st_size - 4096, 0), PROBES).astype(int):
                content.seek(int(offset))
                digest.update(content.read(4096))
        return cls(str(file), stat.st_size, stat.st_mtime_ns, digest.hexdigest())

    def difference(self) -> str | None:
        """Describe how the file has changed since; return None if size and modification time are the same."""
        try:
            now = os.stat(self.path)
        except OSError:
            return "is gone"
        if now.st_size != self.size:
            return f"has {now.st_size} bytes instead of {self.size}"
        return None if now.st_mtime_ns == self.changed else "was written to"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values."""
        return asdict(self)


class Watch:
    """Watches the files that a run has read; each call warns about those that changed since, once each.

    signatures  by path
    changes     the warnings so far
    """

    def __init__(self) -> None:
        self.signatures: dict[str, Signature] = {}
        self.changes: list[str] = []

    def add(self, *signatures: Signature) -> None:
        """Watch further files; one that is watched already keeps its first signature."""
        for signature in signatures:
            self.signatures.setdefault(signature.path, signature)

    def __call__(self) -> None:
        for signature in self.signatures.values():
            reported = any(change.startswith(f"{signature.path} ") for change in self.changes)
            if not reported and (difference := signature.difference()):
                self._warn(
                    f"{signature.path} {difference} since this run read it; the run continues with the rows it "
                    "read, and a new run will read the file again"
                )

    def compare(self, earlier: Iterable[dict[str, Any]]) -> None:
        """Warn about files that differ from what an interrupted run had read."""
        for state in earlier:
            before, now = Signature(**state), self.signatures.get(state["path"])
            if now is not None and (now.size, now.probes) != (before.size, before.probes):
                self._warn(
                    f"{now.path} has changed since the run was interrupted; the resumed run uses the rows as they "
                    "are now"
                )

    def _warn(self, change: str) -> None:
        self.changes.append(change)
        warnings.warn(change, stacklevel=3)
