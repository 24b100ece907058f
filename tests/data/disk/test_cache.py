"""A cache is built once, found again, and rebuilt whenever it is not exactly what was written."""

import json
import multiprocessing
import os
import time
import zlib
from pathlib import Path

import pytest

from lit_mlfund.atomic import WriteError
from lit_mlfund.data.disk import cache as module
from lit_mlfund.data.disk.cache import MANIFEST, find, open_or_make, remove_others

KEY = {"source": {"path": "x.csv", "size": 3}, "seed": 0}


class Maker:
    """Writes two files and counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "a.rows").write_bytes(bytes(range(100)))
        (folder / "b.rows").write_bytes(b"b" * 10)
        return {"rows": 100, "mean": 0.1 + 0.2, "names": ("x", "y")}


def test_made_once(tmp_path):
    make = Maker()
    first = open_or_make(tmp_path / "new" / "root", "t", KEY, make)
    again = open_or_make(tmp_path / "new" / "root", "t", KEY, make)
    assert first.made and not again.made and make.calls == 1
    assert first.folder == again.folder == find(tmp_path / "new" / "root", "t", KEY).folder
    assert first.content == again.content == {"rows": 100, "mean": 0.1 + 0.2, "names": ["x", "y"]}
    otherwise_ordered = dict(reversed(KEY.items()))
    assert not open_or_make(tmp_path / "new" / "root", "t", otherwise_ordered, make).made
    other = open_or_make(tmp_path / "new" / "root", "t", {**KEY, "seed": 1}, make)
    assert other.folder != first.folder and make.calls == 2 and first.folder.exists()


def edit(file, change):
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


SPOIL = {
    "cut short": (lambda f: os.truncate(f / "a.rows", 50), "a.rows was damaged"),
    "a bit": (lambda f: (f / "a.rows").write_bytes(bytes([1, *range(1, 100)])), "a.rows was damaged"),
    "a file less": (lambda f: (f / "b.rows").unlink(), "it was damaged"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "it was damaged"),
    "half a manifest": (lambda f: os.truncate(f / MANIFEST, 40), "it was damaged"),
    "another thing": (lambda f: (f / MANIFEST).write_text("[1, 2]"), "it was damaged"),
    "another version": (
        lambda f: edit(f / MANIFEST, lambda m: m["key"].update(format=0)),
        "it is another version's",
    ),
    "another key": (
        lambda f: edit(f / MANIFEST, lambda m: m["key"].update(seed=9)),
        "it is another version's",
    ),
    "a file in its place": (lambda f: replaced_by_file(f), "it was damaged"),
}


def replaced_by_file(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.write_text("")


@pytest.mark.parametrize("name", SPOIL)
def test_made_anew(tmp_path, name):
    spoil, reason = SPOIL[name]
    make = Maker()
    place = open_or_make(tmp_path, "t", KEY, make).folder
    spoil(place)
    assert find(tmp_path, "t", KEY) is None
    again = open_or_make(tmp_path, "t", KEY, make)
    assert again.made and again.reason == reason and make.calls == 2
    assert (again.folder / "a.rows").read_bytes() == bytes(range(100))
    assert not open_or_make(tmp_path, "t", KEY, make).made


def test_a_new_format_replaces_the_old(tmp_path, monkeypatch):
    make = Maker()
    place = open_or_make(tmp_path, "t", KEY, make).folder
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    again = open_or_make(tmp_path, "t", KEY, make)
    assert again.made and again.reason == "it is another version's" and again.folder == place


def test_a_failed_maker_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "a.rows").write_text("half")
        raise ValueError("bad row")

    with pytest.raises(ValueError, match="bad row"):
        open_or_make(tmp_path, "t", KEY, fail)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    debris = tmp_path / f".{open_or_make(tmp_path, 't', KEY, Maker()).folder.name}.dead.part"
    debris.mkdir()  # as a killed process leaves it
    open_or_make(tmp_path, "t", KEY, Maker())
    assert debris.exists()  # nobody had to write
    (next(tmp_path.glob("t-*")) / MANIFEST).unlink()
    open_or_make(tmp_path, "t", KEY, Maker())
    assert not debris.exists()


def test_a_full_disk(tmp_path):
    def fail(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match=r"cannot write the cache .*t-\w+: No space left on device"):
        open_or_make(tmp_path, "t", KEY, fail)
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write the cache"):
        open_or_make(tmp_path / "file", "t", KEY, Maker())


def _slow(folder):
    time.sleep(0.3)
    with open(folder.parent / "made.txt", "a") as log:
        log.write(f"{os.getpid()}\n")
    return Maker()(folder)


def _work(root: Path) -> None:
    assert open_or_make(root, "t", KEY, _slow).content["rows"] == 100


def test_two_at_once_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len((tmp_path / "made.txt").read_text().splitlines()) == 1


def test_others_of_a_changed_source_are_removed(tmp_path):
    make = Maker()
    old = open_or_make(tmp_path, "t", KEY, make)
    new = open_or_make(tmp_path, "t", {**KEY, "source": {"size": 4}}, make)
    (tmp_path / "somebody").mkdir()
    (tmp_path / "somebody" / "else").write_text("'s")
    remove_others(tmp_path, new.folder, lambda key: key["source"]["size"] != 4)
    assert new.folder.exists() and not old.folder.exists() and (tmp_path / "somebody" / "else").exists()


@pytest.mark.parametrize("size", [0, 1, 10, 25])
def test_checksums_are_those_of_zlib(tmp_path, monkeypatch, size):
    """Of any number of reads, the last of which is short."""
    monkeypatch.setattr(module, "READ_SIZE", 10)
    (tmp_path / "x").write_bytes(bytes(range(1, size + 1)))
    assert module._checksum(tmp_path / "x") == zlib.crc32(bytes(range(1, size + 1)))
