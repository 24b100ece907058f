"""Wrong input: one clear message that names the place, exit code 2, no traceback, and nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.system.conftest import Command, Outcome

FAST = ("references=false", "logger=none", "trainer.max_epochs=1")


def refused(outcome: Outcome, *words: str) -> None:
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err, (word, outcome.err)
    assert not list(Path("runs").rglob("run.yaml")), "a run folder was left behind"


def frame(**changes: object) -> pl.DataFrame:
    size = 200
    columns = {"a": np.arange(size) / 7.0, "b": ["x", "y"] * (size // 2), "y": [0, 1] * (size // 2)}
    return pl.DataFrame({**columns, **changes})


def spoiled(column: str, row: int, value: object) -> pl.DataFrame:
    values: list[object] = frame()[column].to_list()
    values[row] = value
    return frame(**{column: pl.Series(values, strict=False)})


CASES: dict[str, tuple[str, Callable[[], pl.DataFrame], tuple[str, ...]]] = {
    "a column that is not there": ("binary", lambda: frame().rename({"y": "yy"}), ("'y'", "yy")),
    "no rows": ("binary", lambda: frame().head(0), ("t.parquet",)),
    "a target with a missing value": ("binary", lambda: spoiled("y", 6, None), ("'y'", "row 7")),
    "a target of one class": ("binary", lambda: frame(y=[1] * 200), ("'y'",)),
    "a target outside 0 and 1": ("binary", lambda: spoiled("y", 6, 2), ("'y'",)),
    "text where a number belongs": ("regression", lambda: frame(y=["1.5", "many"] * 100), ("'y'", "row")),
    "an infinite feature": ("binary", lambda: spoiled("a", 6, float("inf")), ("'a'", "row 7")),
}


@pytest.mark.parametrize("case", CASES)
def test_tables(mlfund: Command, case: str) -> None:
    task, make, words = CASES[case]
    make().write_parquet("t.parquet")
    refused(
        mlfund("train", f"task={task}", "data=table", "data.path=t.parquet", "data.target=y", *FAST),
        "t.parquet",
        *words,
    )


def test_a_class_that_is_only_in_validation(mlfund: Command) -> None:
    frame(y=["p", "q"] * 100).write_parquet("t.parquet")
    frame(y=["p", "r"] * 100).write_parquet("v.parquet")
    refused(
        mlfund(
            "train", "task=multiclass", "data=table", "data.path=t.parquet", "data.val_path=v.parquet", "data.target=y",
            *FAST,
        ),
        "v.parquet", "'y'", "r",
    )  # fmt: skip


def test_a_file_that_is_not_there_or_damaged(mlfund: Command) -> None:
    options = ("train", "task=binary", "data=table", "data.target=y", *FAST)
    refused(mlfund(*options, "data.path=nowhere.parquet"), "nowhere.parquet")
    Path("torn.parquet").write_bytes(b"PAR1 and then nothing")
    refused(mlfund(*options, "data.path=torn.parquet"), "torn.parquet")
    Path("empty.csv").write_bytes(b"")
    refused(mlfund(*options, "data.path=empty.csv"), "empty.csv")


def test_lists_that_are_none(mlfund: Command) -> None:
    frame(q=pl.Series([None, *range(199)]) // 5).write_parquet("t.parquet")
    refused(
        mlfund(
            "train", "task=ranking", "data=table", "data.path=t.parquet", "data.target=y", "data.query=q", *FAST
        ),
        "t.parquet", "'q'", "row 1",
    )  # fmt: skip
    Path("l.txt").write_text("1 qid:1 1:0.5\n0 1:0.2\n")
    refused(mlfund("train", "task=ranking", "data=letor", "data.path=l.txt", *FAST), "l.txt")


def test_all_problems_of_a_configuration_at_once(mlfund: Command) -> None:
    outcome = mlfund(
        "train", "task=regression", "loss=hubber", "optim.weigth_decay=1", "+sede=3", "++trainer.max_epoch=2",
        "optim.lr=fast",
    )  # fmt: skip
    refused(outcome, "huber", "weight_decay", "seed", "max_epochs", "optim.lr")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("task=regression", "loss=bce"), ("loss", "regression", "mse")),
        (("task=binary", "model=cnn"), ("model", "image")),
        (("task=ranking", "data=digits"), ("data", "ranking")),
        (("task=binary", "monitor=val/ndcg@10"), ("monitor", "auroc")),
        (("task=binary", "seed=-1"), ("seed",)),
        (("task=binary", "trainer.precision=12"), ("trainer.precision",)),
        (("task=binary", "data=table"), ("data.path", "data.target")),
    ],
)
def test_what_does_not_fit_together(
    mlfund: Command, overrides: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused(mlfund("train", *overrides, *FAST), *words)


def test_a_disk_that_takes_nothing(mlfund: Command) -> None:
    Path("occupied").write_text("a file, no folder")
    refused(mlfund("train", "data=breast_cancer", "runs_dir=occupied/runs", *FAST), "occupied")


class Hostile:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_checkpoints(mlfund: Command) -> None:
    binary = mlfund("train", "data=breast_cancer", *FAST).json["run"]
    other = mlfund("train", "task=regression", "data=diabetes", *FAST).json["run"]
    best = Path(binary) / "checkpoints" / "best.ckpt"

    def evaluated() -> Outcome:
        outcome = mlfund("evaluate", f"run={binary}")
        assert outcome.code == 2 and "Traceback" not in outcome.err, outcome
        assert "best.ckpt" in outcome.err
        return outcome

    shutil.copy(Path(other) / "checkpoints" / "best.ckpt", best)
    assert "regression" in evaluated().err
    best.write_bytes(best.read_bytes()[:5000])
    assert "damaged" in evaluated().err
    best.write_bytes(b"")
    assert "damaged" in evaluated().err
    torch.save({"state_dict": {}, "lit_mlfund": Hostile()}, best)
    assert "not loaded" in evaluated().err
    assert not Path("executed").exists()
    best.unlink()
    evaluated()


def test_a_disk_that_fills_up_in_mid_training(tmp_path: Path) -> None:
    """A real refusal by the system: no file may have more than 40 kB, which a checkpoint of this model has."""
    code = (
        "import resource, signal, sys\nfrom lit_mlfund.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "train", "data=breast_cancer", *FAST]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("last.ckpt: File too large"), ended.stderr
    assert not (tmp_path / "runs").exists()
