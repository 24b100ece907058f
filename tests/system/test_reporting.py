"""No failure in reporting costs a result: what cannot be shown is a hole that is named, and the run ends as ever."""

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

from lit_mlfund.reports import pictures
from lit_mlfund.reports.tables import number
from tests.system.conftest import Command, Outcome

FAST = ("logger=files", "trainer.max_epochs=3", "references=false")


def done(outcome: Outcome, *words: str) -> Path:
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    assert outcome.json["status"] == "done"
    for word in words:
        assert word in outcome.err, (word, outcome.err)
    return Path(outcome.json["run"])


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """300 rows of two classes that one column tells."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 300)
    path = tmp_path / "numbers.csv"
    pl.DataFrame({"x": y + generator.normal(0, 0.1, 300), "b": generator.normal(size=300), "y": y}).write_csv(
        path
    )
    return path


def arguments(path: Path, task: str = "binary") -> tuple[str, ...]:
    return ("train", f"task={task}", "data=table", f"data.path={path}", "data.target=y", *FAST)


def test_perfect_metrics(mlfund: Command, numbers: Path) -> None:
    perfect = ("optim.lr=0.1", "monitor=val/accuracy")
    outcome = mlfund(*arguments(numbers, "multiclass"), *perfect)
    run = done(outcome, "warning: target_leakage: x alone explains")  # it is the target, with a little noise
    assert outcome.json["findings"] == ["target_leakage"]
    result = json.loads((run / "result.json").read_text())
    assert result["test"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert result["objective"]["value"] == 1.0


def test_a_test_split_of_one_class(mlfund: Command, numbers: Path) -> None:
    frame = pl.read_csv(numbers)
    split = np.where(np.arange(300) < 200, "train", np.where(np.arange(300) < 250, "val", "test"))
    frame = frame.with_columns(split=split).with_columns(
        y=pl.when(pl.col("split") == "test").then(0).otherwise(pl.col("y"))
    )
    frame.write_csv(numbers)
    outcome = mlfund(*arguments(numbers), "data.split=split", "logger=tensorboard")
    run = done(outcome, "warning: undefined_metric: test/auroc cannot be computed")
    assert outcome.json["test"]["auroc"]["value"] is None
    assert outcome.json["findings"][0] == "undefined_metric"
    assert (run / "report.html").exists()


def test_a_picture_that_fails(mlfund: Command, numbers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "reliability", lambda table: 1 / 0)
    outcome = mlfund(*arguments(numbers), "logger=tensorboard")
    run = done(outcome, "missing in the report: picture reliability (ZeroDivisionError: division by zero)")
    assert (run / "pictures" / "learning_curves.png").exists()


def test_a_disk_that_is_full_for_tensorboard(
    mlfund: Command, numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def fill_up(self: object, data: bytes) -> None:
        written.append(data)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", fill_up)
    outcome = mlfund(*arguments(numbers), "logger=tensorboard", "trainer.log_every_n_steps=1")
    run = done(outcome, "missing in the report: TensorBoard (OSError: [Errno 28] No space left on device)")
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("TensorBoard: ")]
    assert line.endswith("No space left on device")
    assert (run / "report.html").exists()


def test_a_tensorboard_folder_that_cannot_be_made(
    mlfund: Command, numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(folder))

    monkeypatch.setattr("lit_mlfund.callbacks.event_files._require_space", refuse)
    outcome = mlfund(*arguments(numbers), "logger=tensorboard")
    done(outcome, "missing in the report: TensorBoard (PermissionError")
    assert outcome.err.count("TensorBoard: the curves end here") == 1
    assert "Operation not permitted" in outcome.err


@pytest.mark.parametrize(
    ("redirection", "variables"),
    [("", {"PYTHONIOENCODING": "ascii"}), ("2>/dev/full", {}), (">/dev/full", {}), (">&- 2>&-", {})],
)
def test_streams(tmp_path: Path, numbers: Path, redirection: str, variables: dict[str, str]) -> None:
    words = [sys.executable, "-m", "lit_mlfund", *arguments(numbers), "name=größe", "runs_dir=r"]
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *words],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **variables},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    (file,) = tmp_path.glob("r/binary/*größe*/result.json")
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result["status"] == "done"
    if not redirection:
        assert ended.stdout.isascii()
    if ">/dev/full" not in redirection.split() and not redirection.startswith(">"):
        assert json.loads(ended.stdout.splitlines()[-1]) == result


def test_names_that_are_no_utf8(mlfund: Command, numbers: Path) -> None:
    for word in ("name=a\udcff", "runs_dir=a\udcff", "data.path=a\udcff.csv"):
        outcome = mlfund(*arguments(numbers), word)
        assert outcome.code == 2
        assert outcome.err == (
            f"mlfund: {word!r} is not UTF-8; rename it: run folders and files of data need names in UTF-8\n"
        )
    assert not Path("runs").exists()


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


DAMAGES = {
    "cut short": (lambda file: os.truncate(file, file.stat().st_size // 2), "is damaged"),
    "empty": (lambda file: os.truncate(file, 0), "is damaged (EOFError)"),
    "text": (lambda file: file.write_text("hello"), "is damaged"),
    "a bit": (lambda file: _flip_a_bit_of_the_weights(file), "is damaged (Bad CRC-32"),
    "newer": (
        lambda file: torch.save({"lit_mlfund": {"format": 9}}, file),
        "was written by a newer lit_mlfund",
    ),
    "another's": (lambda file: torch.save({"state_dict": {}}, file), "was not written by lit_mlfund"),
    "code": (lambda file: torch.save({"a": Hostile()}, file), "holds code beside tensors and was not loaded"),
    "a tensor less": (
        lambda file: torch.save(_without_a_tensor(file), file),
        "does not fit the configuration",
    ),
}


def _flip_a_bit_of_the_weights(file: Path) -> None:
    weights = max(torch.load(file, weights_only=True)["state_dict"].values(), key=torch.numel)
    whole = bytearray(file.read_bytes())
    whole[whole.index(weights.numpy().tobytes()) + 5] ^= 2
    file.write_bytes(whole)


def _without_a_tensor(file: Path) -> object:
    state = torch.load(file, weights_only=True)
    state["state_dict"].popitem()
    return state


def test_a_last_checkpoint_that_cannot_be_resumed(mlfund: Command, numbers: Path) -> None:
    run = done(mlfund(*arguments(numbers)))
    last = run / "checkpoints" / "last.ckpt"
    whole, result = last.read_bytes(), (run / "result.json").read_bytes()
    for damage, words in DAMAGES.values():
        last.write_bytes(whole)
        damage(last)
        (run / "result.json").unlink(missing_ok=True)
        for verb in (
            ("train",),
            ("evaluate", "checkpoint=last"),
            ("predict", f"data.path={numbers}", "checkpoint=last"),
        ):
            outcome = mlfund(*verb, f"run={run}")
            assert outcome.code == 2, outcome
            assert "Traceback" not in outcome.err
            (line,) = [line for line in outcome.err.splitlines() if line.startswith("mlfund: ")]
            assert line.startswith(f"mlfund: checkpoint: {last} {words}"), line
        assert not Path("executed").exists()
        assert (run / "checkpoints" / "best.ckpt").exists()
    last.unlink()
    again = done(mlfund("train", f"run={run}"))
    assert again == run
    assert json.loads(result)["test"] == json.loads((run / "result.json").read_text())["test"]


def test_evaluate_prints_the_table_of_train(mlfund: Command, numbers: Path) -> None:
    trained = mlfund(*arguments(numbers))
    run = done(trained)
    outcome = mlfund("evaluate", f"run={run}")
    assert outcome.code == 0
    rows = [line.split() for line in outcome.err.splitlines()]
    for name, value in outcome.json["metrics"].items():
        if name == "ece_null":  # in the files alone
            ece, null = (number(outcome.json["metrics"][key]["value"]) for key in ("ece", name))
            assert not [row for row in rows if row[:1] == [name]]
            assert f"ece {ece} ({null} if calibrated)" in outcome.err.splitlines()
            continue
        row = next(row for row in rows if row[:1] == [name])
        assert row[1] == number(value["value"])
        assert row in [line.split() for line in trained.err.splitlines()], (row, value)
    assert ["test", "split", "45", "rows"] in rows
    new = mlfund("evaluate", f"run={run}", f"data.path={numbers}")
    assert f"{numbers} 300 rows" in " ".join(" ".join(new.err.splitlines()).split())
    assert new.json["rows"] == 300


def test_the_target_is_said_at_the_start(mlfund: Command, table: Path) -> None:
    options = ("data=table", f"data.path={table}", *FAST, "trainer.max_epochs=1")
    frame = pl.read_parquet(table)
    outcome = mlfund("train", "task=binary", "data.target=label", "data.exclude=[value,kind]", *options)
    lines = outcome.err.replace("\u00a0", " ").splitlines()
    assert [line.split() for line in lines[:1]] == [
        ["binary", "train", "629", "val", "136", "test", "135", "rows"]
    ]
    shown = float(lines[1].removeprefix("  target: label, 1 is '1': ").removesuffix(" % of train"))
    assert shown == pytest.approx(100 * frame["label"].mean(), abs=0.2)  # classes are drawn alike
    outcome = mlfund("train", "task=regression", "data.target=value", "data.exclude=[label,kind]", *options)
    assert outcome.err.splitlines()[1].startswith("  target: value, mean ")
    outcome = mlfund("train", "task=multiclass", "data.target=kind", "data.exclude=[label,value]", *options)
    assert outcome.err.splitlines()[1].startswith("  target: kind, 3 classes: from ")


def test_a_kill_between_the_result_and_the_report(
    mlfund: Command, numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trained again, and nothing else than the report is written."""

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    words = tuple("logger=tensorboard" if word == "logger=files" else word for word in arguments(numbers))
    with monkeypatch.context() as patch:
        patch.setattr("lit_mlfund.runs.evaluation.publish.write_card", killed)
        assert mlfund(*words).code == 130
    (file,) = Path("runs").glob("*/*/result.json")
    run, result = file.parent.absolute(), json.loads(file.read_text())
    assert result["status"] == "done" and not (run / "report.html").exists()
    (run / ".report.0123abcd.html").touch()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    outcome = mlfund("train", f"run={run}")
    assert done(outcome) == run and outcome.json == result
    assert "auroc" in outcome.err and "epoch 1/" not in outcome.err
    assert (run / "report.html").exists() and [path.name for path in run.rglob(".*")] == [".lock"]
    for path, time in before.items():
        if path.suffix in (".json", ".ckpt", ".parquet", ".yaml"):
            assert path.stat().st_mtime_ns == time, path
    assert done(mlfund("train", f"run={run}")) != run  # now it has ended, and is repeated


def test_what_a_kill_left_half_written_is_removed(mlfund: Command, numbers: Path) -> None:
    run = done(mlfund(*arguments(numbers)))
    (run / "result.json").unlink()
    left = [
        run / ".result.0123abcd.json",
        run / "checkpoints" / ".last.89abcdef.ckpt",
        run / ".space.01234567",
    ]
    kept = [run / ".notes.txt", run / "my.0123abcd.txt", run.parent / ".other.0123abcd.json"]
    for file in left + kept:
        file.touch()
    assert done(mlfund("train", f"run={run}")) == run
    assert [file for file in left + kept if file.exists()] == kept
