"""Tests that a checkpoint is read as it was written or not at all, bit by bit."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lit_mlfund.callbacks.checkpoint_file import WholeFileCheckpointIO, read_checkpoint
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.assembly.strategy import ShardedStrategy

FLIPS = 40


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    state = {
        "lit_mlfund": {"format": 1, "task": "binary"},
        "state_dict": {f"layer.{number}": torch.randn(number, 7) for number in range(1, 14)},
        "callbacks": {"history": [{"epoch": 1, "val/loss": 0.25}], "random": torch.get_rng_state()},
    }
    WholeFileCheckpointIO().save_checkpoint(state, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt", state


def test_folders_above_are_made(tmp_path: Path) -> None:
    WholeFileCheckpointIO().save_checkpoint({"a": 1}, tmp_path / "new" / "checkpoints" / "last.ckpt")
    assert torch.load(tmp_path / "new" / "checkpoints" / "last.ckpt") == {"a": 1}


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    return bool(left == right)


def header_bits(file: Path) -> list[int]:
    """All bits outside the records: of their headers, of the padding, and of the directory at the end."""
    whole = file.read_bytes()
    outside = np.ones(len(whole), dtype=bool)
    with zipfile.ZipFile(file) as archive:
        for record in archive.infolist():
            lengths = np.frombuffer(whole, "<u2", count=2, offset=record.header_offset + 26)
            start = record.header_offset + 30 + int(lengths.sum())
            outside[start : start + record.file_size] = False
    return [8 * int(position) + bit for position in np.flatnonzero(outside) for bit in range(8)]


@pytest.mark.parametrize("where", ["anywhere", "headers", "folders"])
def test_a_flipped_bit_never_loads_other_tensors(checkpoint: tuple[Path, dict[str, Any]], where: str) -> None:
    file, state = checkpoint
    whole = file.read_bytes()
    directory = [
        8 * (position + 38)
        + 4  # `folder` among the attributes of each record, which torch then takes for empty
        for position in range(len(whole))
        if whole.startswith(b"PK\x01\x02", position)
    ]
    bits = {"anywhere": range(8 * len(whole)), "headers": header_bits(file), "folders": directory}[where]
    drawn = np.random.default_rng(5).choice(np.asarray(bits), min(FLIPS, len(bits)), replace=False)
    refused = 0
    for bit in map(int, drawn):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            assert equal(read_checkpoint(file), state), bit
        except ConfigError as error:
            assert str(error).startswith(f"checkpoint: {file} is damaged ("), bit
            refused += 1
    assert refused > {"anywhere": 0.5, "headers": 0.3, "folders": 0.99}[where] * len(drawn)
    file.write_bytes(whole)
    assert equal(read_checkpoint(file), state) and equal(torch.load(file), state)


def test_sharded_training_reads_no_damaged_file_either(checkpoint: tuple[Path, dict[str, Any]]) -> None:
    file, state = checkpoint
    damaged = bytearray(file.read_bytes())
    value = state["state_dict"]["layer.13"].numpy().tobytes()
    damaged[damaged.index(value) + 5] ^= 2
    file.write_bytes(damaged)
    assert not equal(torch.load(file), state)  # what the checksum is for
    with pytest.raises(ConfigError, match="is damaged"):
        ShardedStrategy().load_checkpoint(file, weights_only=True)


@pytest.mark.parametrize("written", [3, "3"])
def test_a_newer_format_is_refused(checkpoint: tuple[Path, dict[str, Any]], written: object) -> None:
    file, state = checkpoint
    torch.save(state | {"lit_mlfund": {"format": written}}, file)
    with pytest.raises(ConfigError, match=f"newer lit_mlfund, in format {written}; .* up to 2: update"):
        read_checkpoint(file)
