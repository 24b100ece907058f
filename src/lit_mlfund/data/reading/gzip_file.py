"""Opens files that are compressed with gzip, as long as they do not grow beyond what data can."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

RATIO = 250  # times that a file may grow; rows of numbers grow 2 to 30 times, and gzip's most is 1,032
ALLOWED = 2**26  # bytes that any file may have
_READ = 2**20


def open_gzip(file: Path) -> BinaryIO:
    """Open a compressed file for reading; raise an OSError while it is read, where it is damaged or too long."""
    return cast(BinaryIO, io.BufferedReader(_Bounded(file), _READ))


class _Bounded(io.RawIOBase):
    """Counts the bytes that a compressed file becomes."""

    def __init__(self, file: Path) -> None:
        self.stream = gzip.GzipFile(file, "rb")
        self.left = ALLOWED + RATIO * file.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            size = self.stream.readinto(buffer)
        except (EOFError, zlib.error) as error:
            raise OSError(str(error)) from error
        self.left -= size
        if self.left < 0:
            raise OSError(
                f"it grows to more than {RATIO} times its size; where that is right, unpack it before"
            )
        return size

    def close(self) -> None:
        self.stream.close()
        super().close()
