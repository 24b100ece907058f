"""Runs that were measured on the same rows are compared by what they keep, as `Evaluation.differences` would."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_mlfund.metrics import evaluate_binary
from lit_mlfund.run_folders.resamples import FILE, difference, read_resamples, write_resamples


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in "ab":
        (tmp_path / name / FILE.parent).mkdir(parents=True)
    return tmp_path / "a", tmp_path / "b"


def test_differences_are_those_of_the_evaluations(folders: tuple[Path, Path]) -> None:
    target = (torch.arange(200) % 3 == 0).float()
    logits = target * 0.5 + torch.randn(200, generator=torch.Generator().manual_seed(0))
    first, second = evaluate_binary(logits, target), evaluate_binary(logits + 0.4 * target, target)
    for folder, evaluation in zip(folders, (first, second)):
        write_resamples(folder, "rows", evaluation.resamples())
    kept = read_resamples(folders[0]), read_resamples(folders[1])
    assert kept[0] is not None and kept[1] is not None
    expected = second.differences(first)
    assert expected["auroc"].low > 0
    for metric in ("auroc", "log_loss", "ece"):
        values = first.values()[metric], second.values()[metric]
        assert difference(metric, values, (kept[0], kept[1])) == expected[metric]
    assert difference("ece_null", (0.1, 0.2), (kept[0], kept[1])) is None  # is not resampled


def test_other_rows_have_no_difference(folders: tuple[Path, Path]) -> None:
    for folder, rows, size in zip(folders, ("these", "those"), (5, 5)):
        write_resamples(folder, rows, {"ndcg@10": np.arange(float(size))})
    kept = read_resamples(folders[0]), read_resamples(folders[1])
    assert kept[0] is not None and kept[1] is not None
    assert difference("ndcg@10", (0.1, 0.2), (kept[0], kept[1])) is None
    assert difference("ndcg@10", (0.1, 0.2), (kept[0], kept[0])) is not None


def test_what_cannot_be_read_is_not_there(folders: tuple[Path, Path]) -> None:
    folder, _ = folders
    assert read_resamples(folder) is None
    (folder / FILE).write_bytes(b"no archive")
    assert read_resamples(folder) is None
    np.savez(folder / FILE, other=np.arange(3))
    assert read_resamples(folder) is None
    np.savez(folder / FILE, rows=np.array(["a"], dtype=object))
    assert read_resamples(folder) is None
    with zipfile.ZipFile(folder / FILE, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("metric/auroc.npy", bytes(2**27))
    assert read_resamples(folder) is None
