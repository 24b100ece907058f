"""Whether the files of a run are still what they were."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from lit_mlfund.data.reading.read import find_file

PROBES = 16  # places of a file that are looked at, of 4 KiB each


@dataclass(frozen=True)
class Signature:
    """What tells a file from a later or another one: path, size, time of change, and some of its bytes."""

    path: str
    size: int
    changed: int  # nanoseconds
    probes: str

    @classmethod
    def of(cls, path: str) -> Self:
        """Of the file as it is now; a DataError where there is none."""
        file = find_file(path).resolve()
        stat = file.stat()
        digest = hashlib.blake2b(digest_size=16)
        with open(file, "rb") as content:
            for place in np.linspace(0, max(stat.st_size - 4096, 0), PROBES).astype(int):
                content.seek(int(place))
                digest.update(content.read(4096))
        return cls(str(file), stat.st_size, stat.st_mtime_ns, digest.hexdigest())

    def difference(self) -> str | None:
        """What has become of the file since; None when it is the same by size and time of change."""
        try:
            now = os.stat(self.path)
        except OSError:
            return "is gone"
        if now.st_size != self.size:
            return f"has {now.st_size} bytes instead of {self.size}"
        return None if now.st_mtime_ns == self.changed else "was written to"

    def to_dict(self) -> dict[str, Any]:
        """Plain Python."""
        return asdict(self)


class Watch:
    """The files that a run has read; when called it tells, once of each, which have changed since.

    signatures  by path
    changes     what was told
    """

    def __init__(self) -> None:
        self.signatures: dict[str, Signature] = {}
        self.changes: list[str] = []

    def add(self, *signatures: Signature) -> None:
        """Watch further files; one that is watched already stays as it was read first."""
        for signature in signatures:
            self.signatures.setdefault(signature.path, signature)

    def __call__(self) -> None:
        for signature in self.signatures.values():
            told = any(change.startswith(f"{signature.path} ") for change in self.changes)
            if not told and (difference := signature.difference()):
                self._tell(
                    f"{signature.path} {difference} since this run read it; the run goes on with the rows as they "
                    "were, another run will read the file anew"
                )

    def compare(self, earlier: Iterable[dict[str, Any]]) -> None:
        """Tell of the files that are others than those that an interrupted run had read."""
        for told in earlier:
            before, now = Signature(**told), self.signatures.get(told["path"])
            if now is not None and (now.size, now.probes) != (before.size, before.probes):
                self._tell(
                    f"{now.path} has changed since the run was interrupted; it was resumed on the rows as they are now"
                )

    def _tell(self, change: str) -> None:
        self.changes.append(change)
        warnings.warn(change, stacklevel=3)
