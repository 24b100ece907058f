"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.atomic import (
    WriteError,
    system_reason,
    to_json,
    whole_file,
    write_bytes,
    write_json,
    write_text,
)


def test_writes_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "ü")
    assert file.read_text(encoding="utf-8") == "ü"
    write_bytes(file, b"second")
    assert file.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [file]


def test_keeps_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, 1)
    with pytest.raises(ZeroDivisionError), whole_file(file) as beside:
        beside.write_text("half")
        1 / 0  # noqa: B018
    assert file.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_is_one_message_and_nothing_is_left(tmp_path: Path) -> None:
    """A real refusal by the system: files of more than 100 bytes are not allowed."""
    code = (
        "import resource, signal, sys\nfrom lit_mlfund.atomic import WriteError, write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: write_text(sys.argv[1], 'x' * 1000)\nexcept WriteError as error: print(error)"
    )
    file = tmp_path / "a.txt"
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {file}: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file or directory"):
        write_text(tmp_path / "no" / "a.txt", "x")


def test_flushed_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("rename"), replace(*paths)))
    write_text(tmp_path / "a", "x")
    assert order == ["fsync", "rename", "fsync"]


def test_json_is_read_by_every_parser() -> None:
    value = {
        1: np.float32(0.5),
        "array": np.arange(3),
        "tensor": torch.tensor([1.0, float("nan")]),
        "tuple": (Path("a"), None, True),
        "large": float("inf"),
    }

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(to_json(value), parse_constant=refuse) == {
        "1": 0.5,
        "array": [0, 1, 2],
        "tensor": [1.0, None],
        "tuple": ["a", None, True],
        "large": None,
    }
    assert "\n" not in to_json(value)


def test_the_reason_is_the_systems_own() -> None:
    assert system_reason(PermissionError(errno.EPERM, "Operation not permitted")) == "Operation not permitted"
    assert (
        system_reason(RuntimeError("parquet: underlying IO error (os error 28)")) == "No space left on device"
    )
    assert system_reason(OSError("File too large (os error 27)")) == "File too large"
    assert system_reason(OSError("odd")) == "odd"
    assert system_reason(RuntimeError("a defect")) is None


def test_an_error_of_another_library_that_the_system_caused(tmp_path: Path) -> None:
    refused = pytest.raises(WriteError, match=r"cannot write .*a\.parquet: No space left on device")
    with refused, whole_file(tmp_path / "a.parquet"):
        pl.DataFrame({"a": range(100_000)}).write_parquet("/dev/full")
    assert list(tmp_path.iterdir()) == []


def test_half_a_surrogate_pair_is_written_as_json_reads_it(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"path": "d\udcff.csv", "ü": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"path": "d\udcff.csv", "ü": 1}
