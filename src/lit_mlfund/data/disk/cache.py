"""Manages cache folders of derived files, which can be rebuilt at any time and are verified before each use.

A folder has `cache.json`, which is written last, and the files that it lists with size and CRC-32. It is built
under a temporary name beside its final path and renamed, under a lock: two processes that need it at the same time
build it once, and what a killed process left behind is removed by the next one.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import WriteError, to_json, write_json

FORMAT = 4  # version of the files; a cache of any other version is rebuilt
MANIFEST = "cache.json"
READ_SIZE = 2**22  # bytes per read


class UnusableCache(Exception):
    """Says why a cache cannot be used; the message is empty where no cache exists."""


@dataclass(frozen=True)
class Cache:
    """Describes a folder whose files are verified to be those that were written."""

    folder: Path
    content: dict[str, Any]  # the description that the builder of the files returned
    made: bool  # built by this call rather than found
    reason: str  # why an earlier cache at the same path was not usable


def user_cache_folder(kind: str) -> Path:
    """Return the user's folder for caches of a kind: below `$XDG_CACHE_HOME`, or `~/.cache`.

    Raises:
        WriteError: the user has no home folder.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError as error:
        raise WriteError(f"there is no folder for caches: {error}; set XDG_CACHE_HOME") from error
    return home / "lit_mlfund" / kind


def find(root: Path, name: str, key: dict[str, Any]) -> Cache | None:
    """Return the cache of `key` below `root`, or None where there is no intact one."""
    folder, key = _locate(root, name, key)
    try:
        return Cache(folder, _verified_content(folder, key), made=False, reason="")
    except UnusableCache:
        return None


def open_or_make(root: Path, name: str, key: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> Cache:
    """Return the cache of `key` below `root`, building it if it is missing, damaged or of another version.

    Args:
        root: a folder, created if necessary.
        name: a prefix of the cache folder's name.
        key: plain Python: everything that the content depends on.
        make: writes files into an empty folder and returns their description in plain Python.

    Raises:
        WriteError: the disk refused the files.
    """
    if cache := find(root, name, key):
        return cache
    folder, key = _locate(root, name, key)
    with _refusals(folder):
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{folder.name}.lock"):
            try:  # another process may have built it while this one waited
                return Cache(folder, _verified_content(folder, key), made=False, reason="")
            except UnusableCache as unusable:
                return Cache(folder, _build(folder, key, make), made=True, reason=str(unusable))


def rebuild(
    root: Path, name: str, key: dict[str, Any], reason: str, make: Callable[[Path], dict[str, Any]]
) -> Cache:
    """Build the cache of `key` again, in place of one whose files are intact but cannot be used.

    Raises:
        WriteError: the disk refused the files.
    """
    folder, _ = _locate(root, name, key)
    with _refusals(folder), _locked(root / f".{folder.name}.lock"):
        _remove(folder)
    return replace(open_or_make(root, name, key, make), reason=reason)


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    """Raise a WriteError that names the cache where the disk refuses something."""
    try:
        yield
    except OSError as error:
        if isinstance(error, WriteError):
            raise
        raise WriteError(f"cannot write the cache {folder}: {error.strerror or error}") from error


def remove_others(root: Path, keep: Path, is_stale: Callable[[dict[str, Any]], bool]) -> None:
    """Remove caches below `root` with a stale key; processes that have one open can read it to the end."""
    for manifest in root.glob(f"*/{MANIFEST}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            if manifest.parent != keep and is_stale(json.loads(manifest.read_text(encoding="utf-8"))["key"]):
                # its lock file stays: other processes may be waiting for it
                shutil.rmtree(manifest.parent, ignore_errors=True)


def _locate(root: Path, name: str, key: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the cache of `key`, and the key in the form in which a manifest stores it.

    The format is not part of the folder's name, so that a cache of another format is found and replaced.
    """
    key = json.loads(to_json(key))
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    return root / f"{name}-{digest}", {"format": FORMAT, **key}


def _build(folder: Path, key: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Build the cache under a temporary name and rename it to `folder`; the caller holds the lock."""
    for debris in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(debris, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    temporary.mkdir()
    try:
        content = make(temporary)
        files = {file.name: _flush(file) for file in sorted(temporary.iterdir())}
        write_json(temporary / MANIFEST, {"key": key, "files": files, "content": content})
        _remove(folder)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return json.loads(to_json(content))


def _remove(path: Path) -> None:
    """Remove whatever is at `path`, be it a folder, a file or a link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(file: Path) -> dict[str, int]:
    """Flush a file to disk and return its size and checksum as read back."""
    with open(file, "rb+") as content:
        os.fsync(content.fileno())
    return {"size": file.stat().st_size, "crc32": _checksum(file)}


def _verified_content(folder: Path, key: dict[str, Any]) -> dict[str, Any]:
    """Return the builder's description after checking the key and every file; raises UnusableCache."""
    if not folder.exists():
        raise UnusableCache("")
    try:
        if not (folder / MANIFEST).is_file():  # a pipe in its place would never end
            raise UnusableCache("it was damaged")
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["key"] != key:
            raise UnusableCache("it is another version's")
        for name, expected in manifest["files"].items():
            file = folder / name
            if not file.is_file() or file.parent != folder:
                raise UnusableCache("it was damaged")
            if file.stat().st_size != expected["size"] or _checksum(file) != expected["crc32"]:
                raise UnusableCache(f"{name} was damaged")
        return dict(manifest["content"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableCache("it was damaged") from error


def _checksum(file: Path) -> int:
    checksum = 0
    with open(file, "rb", buffering=0) as content:
        buffer = bytearray(READ_SIZE)
        while size := content.readinto(buffer):
            checksum = zlib.crc32(memoryview(buffer)[:size], checksum)
    return checksum


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Hold `lock`, waiting until no other process does; file systems without locks are used without one."""
    with open(lock, "w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
