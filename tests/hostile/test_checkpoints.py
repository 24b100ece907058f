"""Tries checkpoints that hold code, declare what they do not have, or have other types, through every command."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lit_mlfund
from lit_mlfund.config.errors import ConfigError
from tests.hostile.conftest import CANARY, Case


class Code:
    """Runs a program where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch {CANARY}",)


class Opened:
    """Opens a file for writing where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return io.open, (CANARY, "w")


def legacy(value: object) -> bytes:
    """Return a file in the format of torch before 1.6: pickles one after the other."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def archive(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def rewritten(data: bytes, change: Callable[[str, bytes], bytes | None], compress: bool = False) -> bytes:
    """Return an archive with the content of every entry changed; None leaves one out."""
    file = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", method) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return file.getvalue()


def with_pickle(data: bytes, pickled: bytes, compress: bool = False) -> bytes:
    return rewritten(data, lambda name, old: pickled if name.endswith("data.pkl") else old, compress)


def with_entry(data: bytes, name: str) -> bytes:
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, "x")
    return file.getvalue()


def changed(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a checkpoint with its content changed in place, or replaced by what `change` returns."""
    state = torch.load(io.BytesIO(data), weights_only=True)
    other = change(state)
    return archive(state if other is None else other)


def nested(depth: int) -> bytes:
    return b"\x80\x02" + b"(" * depth + b"t" * depth + b"."


FILES: dict[str, Callable[[bytes], bytes]] = {
    **{f"code, protocol {p}": lambda data, p=p: pickle.dumps(Code(), protocol=p) for p in range(6)},
    **{
        f"code in an archive, protocol {p}": lambda data, p=p: with_pickle(
            data, pickle.dumps(Code(), protocol=p)
        )
        for p in (0, 2, 4, 5)
    },
    "code in the old format": lambda data: legacy({"lit_mlfund": Code()}),
    "code beside tensors": lambda data: changed(data, lambda state: state.update(x=Code())),
    "code as a key": lambda data: with_pickle(data, pickle.dumps({("a", Code()): 1}, protocol=2)),
    "a file that is opened": lambda data: archive({"lit_mlfund": Opened()}),
    "a whole module": lambda data: archive({"lit_mlfund": torch.nn.Linear(1, 1)}),
    "eval": lambda data: with_pickle(data, b'c__builtin__\neval\n(S\'open("canary","w")\'\ntR.'),
    "an unknown opcode": lambda data: with_pickle(data, b"\x80\x02\xff."),
    "lists in lists": lambda data: with_pickle(data, nested(200_000)),
    "a number of a gigabyte": lambda data: with_pickle(data, b"\x80\x02\x8b\xff\xff\xff\x3f."),
    "a text of four gigabytes": lambda data: with_pickle(data, b"\x80\x02X\xff\xff\xff\xff."),
    "a bomb": lambda data: with_pickle(data, b"\x80\x02" + b"X\x01\x00\x00\x00a" * 2_000_000, compress=True),
    "cut in half": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-30],
    "without a beginning": lambda data: data[64:],
    "without tensors": lambda data: rewritten(data, lambda name, old: None if "/data/" in name else old),
    "tensors cut short": lambda data: rewritten(data, lambda name, old: old[:1] if "/data/" in name else old),
    "a way out of the archive": lambda data: with_entry(with_pickle(data, b"N."), f"../../../../../{CANARY}"),
    "an absolute name": lambda data: with_entry(with_pickle(data, b"N."), f"/tmp/{CANARY}"),
    "a huge tensor": lambda data: with_pickle(
        data,
        archive_pickle({"lit_mlfund": torch.empty(1).expand(2**50)}),
    ),
    "empty": lambda data: b"",
    "text": lambda data: b"hello\n" * 100,
    "zeros": lambda data: bytes(10_000),
    "a list": lambda data: archive([1, 2]),
    "metadata of another type": lambda data: changed(data, lambda state: state.update(lit_mlfund=3)),
    "no metadata": lambda data: changed(data, lambda state: state.update(lit_mlfund={})),
    "a task of another type": lambda data: changed(data, lambda state: state["lit_mlfund"].update(task=[1])),
    "a spec of another type": lambda data: changed(data, lambda state: state["lit_mlfund"].update(spec=[1])),
    "an empty spec": lambda data: changed(data, lambda state: state["lit_mlfund"].update(spec={})),
    "weights of another type": lambda data: changed(data, lambda state: state.update(state_dict=[1, 2])),
    "weights without tensors": lambda data: changed(data, lambda state: state.update(state_dict={"a": "b"})),
    "keys that are numbers": lambda data: changed(data, lambda state: {1: 2, "lit_mlfund": {3: 4}}),
    "a preprocessing of another type": lambda data: changed(
        data, lambda state: state.update(TableDataModule=[1])
    ),
}


def archive_pickle(value: object) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive(value))) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("data.pkl")))


@pytest.mark.parametrize("name", FILES)
def test_checkpoints(case: Case, name: str) -> None:
    folder = case.run / "checkpoints"
    data = FILES[name]((folder / "best.ckpt").read_bytes())
    for file in ("best.ckpt", "last.ckpt"):
        (folder / file).write_bytes(data)
    commands = case.commands()
    case.refused(commands["evaluate"], "best.ckpt")
    case.refused([*commands["predict"], "checkpoint=last"], "last.ckpt")
    with pytest.raises(ConfigError, match=r"best\.ckpt"):
        assert lit_mlfund.load_run(case.run).module
    assert not Path(CANARY).exists()


@pytest.mark.parametrize(
    "name", ["code, protocol 2", "code in an archive, protocol 2", "cut in half", "a bomb"]
)
def test_an_interrupted_run_is_not_resumed_from_it(case: Case, name: str) -> None:
    last = case.run / "checkpoints" / "last.ckpt"
    data = FILES[name](last.read_bytes())
    last.write_bytes(data)
    (case.run / "result.json").unlink()
    code, told = case.call(case.commands()["train"])
    assert code == 2 and "last.ckpt" in told and told.count("mlfund: ") == 1, told
    assert last.read_bytes() == data and not (case.run / "result.json").exists()


def test_a_folder_in_its_place(case: Case) -> None:
    best = case.run / "checkpoints" / "best.ckpt"
    best.unlink()
    best.mkdir()
    case.refused(case.commands()["evaluate"], "best.ckpt")
    shutil.rmtree(case.run / "checkpoints")
    case.refused(case.commands()["evaluate"], "best.ckpt")
