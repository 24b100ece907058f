"""Writes files that appear whole or not at all: write beside, flush to the disk, rename.

The module lies outside the folders because all of them may write files; it depends on none of them.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class WriteError(OSError):
    """Reports a file that could not be written; the message names the file and the reason."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and rename it to `path` when the block ends without an error.

    Raises WriteError with the system's reason when the file cannot be written; nothing is left behind then.
    """
    path = Path(path)
    beside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
        _flush_folder(path.parent)
    except Exception as error:
        reason = system_reason(error)
        if reason is None:
            raise
        raise WriteError(f"cannot write {path}: {reason}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


_BESIDE = re.compile(r"\..*\.[0-9a-f]{8}(\.[^.]*)?")  # what `whole_file` writes to


def remove_unfinished(folder: Path) -> None:
    """Remove what a kill has left of `whole_file` in a folder and below; nobody else may be writing there."""
    for file in folder.rglob(".*"):
        if _BESIDE.fullmatch(file.name) and file.is_file():
            file.unlink(missing_ok=True)


def system_reason(error: BaseException) -> str | None:
    """Return the operating system's reason for a failure, such as `No space left on device`; None if it has none.

    Libraries in Rust report `… (os error 28)`, as an OSError without a number or as an error of their own.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if number := re.search(r"\(os error (\d+)\)", str(error)):
        return os.strerror(int(number[1]))
    return str(error) or type(error).__name__ if isinstance(error, OSError) else None


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with whole_file(path) as beside:
        beside.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all.

    Half of a surrogate pair, as Python reads a byte of a file name that is not UTF-8, is written as `\\udcff`: JSON
    parsers read that as the same character.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, to_json(value, indent=1) + "\n")


def to_json(value: Any, indent: int | None = None) -> str:
    """Format JSON that every parser reads: arrays become lists, paths strings, non-finite numbers null."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):  # arrays, tensors and their scalars, without importing their libraries
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut; some file systems cannot, which is not an error."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
