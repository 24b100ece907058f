"""Tries tables that are damaged, declare what they do not have, or grow when they are read, through every command."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from lit_mlfund.data.reading import gzip_file
from tests.hostile.conftest import Case
from tests.hostile.test_checkpoints import Code

HEADER = b"number,color,y\n"
ROW = b"0.5,red,1\n"


def parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"number": [0.5] * 50, "color": ["red"] * 50, "y": [0, 1] * 25}).write_parquet(file)
    return file.getvalue()


def arrow() -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"number": [0.5] * 50, "color": ["red"] * 50, "y": [0, 1] * 25}).write_ipc(file)
    return file.getvalue()


def with_footer(length: int) -> bytes:
    """Return a Parquet file whose last bytes declare a footer of another length."""
    return parquet()[:-8] + struct.pack("<I", length) + b"PAR1"


def objects() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.array([Code()], dtype=object))
    return file.getvalue()


def bomb(size: int) -> bytes:
    """Return a small file that is one of `size` equal rows when it is unpacked."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(HEADER)]
    block = ROW * 100_000
    parts += [packer.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, packer.flush()])


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zero bytes": ("x.csv", lambda: HEADER + b"\x00" * 5000 + b"\n" + ROW * 9),
    "nothing but zeros": ("x.csv", lambda: bytes(100_000)),
    "a header alone": ("x.csv", lambda: HEADER),
    "an open quote": ("x.csv", lambda: HEADER + b'"' + ROW * 500),
    "a line of 5 MB": ("x.csv", lambda: HEADER + b"x" * 5_000_000),
    "a row of 10,000 cells": ("x.csv", lambda: HEADER + ROW + b"1," * 10_000 + b"\n"),
    "a pickle": ("x.csv", lambda: pickle.dumps(Code())),
    "a pickle as Parquet": ("x.parquet", lambda: pickle.dumps(Code())),
    "a footer beyond the file": ("x.parquet", lambda: with_footer(2**31 - 1)),
    "a footer of nothing": ("x.parquet", lambda: with_footer(0)),
    "a footer of four gigabytes": ("x.parquet", lambda: with_footer(2**32 - 1)),
    "a footer that is overwritten": ("x.parquet", lambda: parquet()[:-60] + b"\xff" * 52 + parquet()[-8:]),
    "Parquet cut": ("x.parquet", lambda: parquet()[:-100]),
    "Parquet without a beginning": ("x.parquet", lambda: parquet()[100:]),
    "Arrow cut": ("x.arrow", lambda: arrow()[: len(arrow()) // 2]),
    "Arrow overwritten": ("x.arrow", lambda: arrow()[:-60] + b"\xff" * 60),
    "a stream of Arrow that never ends": (
        "x.arrow",
        lambda: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(100),
    ),
    "arrays with code": ("x.npz", objects),
    "JSON in JSON": ("x.json", lambda: b"[" * 100_000 + b"]" * 100_000),
    "no gzip": ("x.csv.gz", lambda: HEADER + ROW * 9),
    "gzip cut": ("x.csv.gz", lambda: gzip.compress(HEADER + ROW * 5000)[:60]),
    "gzip of another sum": ("x.csv.gz", lambda: gzip.compress(HEADER + ROW * 5000)[:-8] + bytes(8)),
    "nothing": ("x.csv", lambda: b""),
}


@pytest.mark.parametrize("name", FILES)
def test_tables(case: Case, name: str) -> None:
    file, make = FILES[name]
    (case.folder / file).write_bytes(make())
    for arguments in commands(case, file):
        case.refused(arguments, file)


@pytest.mark.parametrize("size", [10**8, pytest.param(2 * 10**9, marks=pytest.mark.slow)])
def test_a_bomb(case: Case, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bomb(size)
    assert len(data) < size / 300
    if size < gzip_file.ALLOWED * 2:
        monkeypatch.setattr(gzip_file, "ALLOWED", 2**20)
    (case.folder / "x.csv.gz").write_bytes(data)
    for arguments in commands(case, "x.csv.gz"):
        case.refused(arguments, "x.csv.gz", "unpack it before")


@pytest.mark.slow
def test_a_line_of_100_megabytes(case: Case) -> None:
    (case.folder / "x.csv").write_bytes(HEADER + b"x" * 10**8)
    for arguments in commands(case, "x.csv"):
        case.refused(arguments, "x.csv")


def commands(case: Case, file: str) -> list[list[str]]:
    run = f"run={case.run}"
    data = ["data=table", "task=binary", f"data.path={file}", "data.target=y", "runs_dir=new"]
    return [
        ["evaluate", run, f"data.path={file}"],
        ["predict", run, f"data.path={file}", "output=out.csv"],
        ["train", *data, "references=false", "logger=none", "trainer.max_epochs=1"],
    ]
