"""Folders of derived files that can be made again at any time, and are never trusted without a look.

A folder has `cache.json`, which is written last, and the files that it names with size and CRC-32. It is made
beside its place and renamed, under a lock: two processes that want it at once make it once, and what a killed one
has left behind is removed by the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import WriteError, to_json, write_json

FORMAT = 1  # of the files; a cache of another one is made anew
MANIFEST = "cache.json"
READ = 2**22  # bytes at a time


class Unusable(Exception):
    """Why a cache cannot be used; for a place where there is none, an empty text."""


@dataclass(frozen=True)
class Cache:
    """A folder whose files are what was written: `content` is what their maker said of them."""

    folder: Path
    content: dict[str, Any]
    made: bool  # just now
    reason: str  # why an earlier one was not good enough


def own_folder(kind: str) -> Path:
    """The user's own folder for caches of a kind: below `$XDG_CACHE_HOME`, or `~/.cache`.

    Raises:
        WriteError: the user has none.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError as error:
        raise WriteError(f"there is no folder for caches: {error}; set XDG_CACHE_HOME") from error
    return home / "lit_mlfund" / kind


def find(root: Path, name: str, key: dict[str, Any]) -> Cache | None:
    """The cache of `key` below `root`, where there is a whole one."""
    place, key = _place(root, name, key)
    try:
        return Cache(place, _verified(place, key), made=False, reason="")
    except Unusable:
        return None


def open_or_make(root: Path, name: str, key: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> Cache:
    """The cache of `key` below `root`, made where there is none or where it is torn or of another version.

    Args:
        root: a folder, made if need be.
        name: that the folder's own name begins with.
        key: plain Python: all that the content depends on.
        make: writes files into an empty folder, and returns what is to be said of them in plain Python.

    Raises:
        WriteError: the disk would not take it.
    """
    if found := find(root, name, key):
        return found
    place, key = _place(root, name, key)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root / f".{place.name}.lock"):
            try:  # another process may have made it while this one waited
                return Cache(place, _verified(place, key), made=False, reason="")
            except Unusable as unusable:
                return Cache(place, _make(place, key, make), made=True, reason=str(unusable))
    except OSError as error:
        if isinstance(error, WriteError):
            raise
        raise WriteError(f"cannot write the cache {place}: {error.strerror or error}") from error


def remove_others(root: Path, keep: Path, is_stale: Callable[[dict[str, Any]], bool]) -> None:
    """Remove the caches below `root` whose key is stale; who has one open still reads it to the end."""
    for manifest in root.glob(f"*/{MANIFEST}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            if manifest.parent != keep and is_stale(json.loads(manifest.read_text())["key"]):
                shutil.rmtree(manifest.parent, ignore_errors=True)  # not its lock: others may wait for that


def _place(root: Path, name: str, key: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Where the cache of `key` belongs, and the key as a manifest has it.

    The format is no part of the name: a cache of another one is found, and replaced.
    """
    key = json.loads(to_json(key))
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    return root / f"{name}-{digest}", {"format": FORMAT, **key}


def _make(place: Path, key: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Make the cache beside its place, and put it there; the lock is ours."""
    for debris in place.parent.glob(f".{place.name}.*.part"):
        shutil.rmtree(debris, ignore_errors=True)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    beside.mkdir()
    try:
        content = make(beside)
        files = {file.name: _checked(file) for file in sorted(beside.iterdir())}
        write_json(beside / MANIFEST, {"key": key, "files": files, "content": content})
        _remove(place)
        os.rename(beside, place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return json.loads(to_json(content))


def _remove(place: Path) -> None:
    """Whatever stands there."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def _checked(file: Path) -> dict[str, int]:
    """Flush a file to the disk; its size and checksum, read back."""
    with open(file, "rb+") as content:
        os.fsync(content.fileno())
    return {"size": file.stat().st_size, "crc32": _checksum(file)}


def _verified(place: Path, key: dict[str, Any]) -> dict[str, Any]:
    """What the maker of the cache said, once every file of it is found whole; raises Unusable."""
    if not place.exists():
        raise Unusable("")
    try:
        manifest = json.loads((place / MANIFEST).read_text())
        if manifest["key"] != key:
            raise Unusable("it is another version's")
        for name, told in manifest["files"].items():
            file = place / name
            if file.stat().st_size != told["size"] or _checksum(file) != told["crc32"]:
                raise Unusable(f"{name} was damaged")
        return dict(manifest["content"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable("it was damaged") from error


def _checksum(file: Path) -> int:
    checksum = 0
    with open(file, "rb", buffering=0) as content:
        buffer = bytearray(READ)
        while size := content.readinto(buffer):
            checksum = zlib.crc32(memoryview(buffer)[:size], checksum)
    return checksum


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process makes the same; file systems that know no locks are taken at their word."""
    with open(lock, "w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
