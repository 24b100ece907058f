"""Leases: one holder at a time, known to be dead or taken for dead, and taken over once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from lit_mlfund.sweeps import lease
from lit_mlfund.sweeps.lease import STALE, Holder, acquire, create, holder


def held_by(folder: Path, other: Holder) -> Path:
    """Make a lease of another process."""
    file = folder / "3.1"
    assert create(file, asdict(other))
    return file


def ended_process() -> Holder:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return replace(Holder.here(), pid=child.pid, start="1")


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first = acquire(tmp_path, "3")
    assert first is not None
    assert holder(tmp_path, "3") == Holder.here()
    assert acquire(tmp_path, "3") is None
    assert acquire(tmp_path, "33") is not None  # another name
    first.release()
    assert holder(tmp_path, "3") is None
    assert acquire(tmp_path, "3") is not None


def test_of_many_that_ask_at_once_one_gets_it(tmp_path: Path) -> None:
    held_by(tmp_path, ended_process())
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: acquire(tmp_path, "3"), range(16)))
    assert sum(one is not None for one in taken) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["3.1", "3.2"]


def test_a_dead_process_of_this_machine_is_known_at_once(tmp_path: Path) -> None:
    held_by(tmp_path, ended_process())
    assert holder(tmp_path, "3") is None
    assert acquire(tmp_path, "3") is not None


def test_a_number_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    held_by(tmp_path, replace(Holder.here(), start="1"))
    assert acquire(tmp_path, "3") is not None


def test_a_process_of_another_machine_is_taken_for_dead_without_a_heartbeat(tmp_path: Path) -> None:
    other = Holder("elsewhere", 1, "another boot", "1")
    file = held_by(tmp_path, other)
    assert acquire(tmp_path, "3") is None
    assert holder(tmp_path, "3") == other
    assert str(other) == "process 1 on elsewhere"
    written = file.stat().st_mtime
    os.utime(file, (written, written - STALE + 30))
    assert acquire(tmp_path, "3") is None
    os.utime(file, (written, written - STALE - 1))
    assert acquire(tmp_path, "3") is not None


def test_a_holder_that_was_taken_for_dead_is_stopped(tmp_path: Path) -> None:
    mine = acquire(tmp_path, "3")
    assert mine is not None
    stopped: list[tuple[int, int]] = []
    kill = os.kill
    try:
        os.kill = lambda pid, number: stopped.append((pid, number))  # type: ignore[assignment]
        mine.beat()
        assert stopped == []
        assert create(tmp_path / "3.2", asdict(Holder("elsewhere", 1, "another boot", "1")))
        mine.beat()
        mine.beat()
    finally:
        os.kill = kill
    assert [pid for pid, _ in stopped] == [os.getpid()]
    assert mine.lost


def test_a_heartbeat_keeps_a_lease(tmp_path: Path) -> None:
    mine = acquire(tmp_path, "3")
    assert mine is not None
    os.utime(mine.file, (0, 0))
    mine.beat()
    assert lease.now(tmp_path) - mine.file.stat().st_mtime < 60


def test_what_is_damaged_is_free(tmp_path: Path) -> None:
    (tmp_path / "3.1").write_text('{"host":')
    assert acquire(tmp_path, "3") is not None
    assert json.loads((tmp_path / "3.2").read_text())["pid"] == os.getpid()
    assert [file.name for file in tmp_path.glob(".*")] == []
