"""What training prints: one line per epoch, and on a terminal a bar between them."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import Timer

from lit_mlfund.callbacks import BestAndLast, Progress
from lit_mlfund.runs.assembly.trainer import build_trainer
from lit_mlfund.startup.screen import duration
from tests.modules.test_lean import BATCH, STEPS, Data, make_module


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("lean", [False, True])
def test_a_terminal_is_shown_a_bar_and_a_file_one_line_per_epoch(
    tmp_path: Path, lean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    shown: dict[type, str] = {}
    for stream in (io.StringIO(), Terminal()):
        module, data = make_module(), Data(batch_size=BATCH, seed=3)
        data.setup()
        progress = Progress(refresh_seconds=0.0, stream=stream)
        trainer = build_trainer(
            callbacks=[progress, BestAndLast(tmp_path)],
            default_root_dir=str(tmp_path),
            max_epochs=2,
            log_every_n_steps=10,
        )
        if lean:
            module.use_lean_steps(trainer)
        trainer.fit(module, datamodule=data)
        shown[type(stream)] = stream.getvalue()
    lines = shown[io.StringIO].splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    for line, epoch in zip(lines, progress.history):
        told = dict(re.findall(r"(\S+/\S+) (\S+)", line.partition("  ")[2]))
        assert told.keys() == {"train/loss", "val/loss", module.monitor}
        assert {name: float(value) for name, value in told.items()} == pytest.approx(
            {name: epoch[name] for name in told}, rel=1e-3
        )
        assert re.search(r"  \d+\.\d s$", line)
    drawn = shown[Terminal].split("\r\x1b[2K")[1:]
    assert [text[:9] for text in drawn if text.endswith("\n")] == ["epoch 1/2", "epoch 2/2"]
    bars = [text for text in drawn if not text.endswith("\n")]
    done = [int(re.findall(r"(\d+)/\d+", text)[-1]) for text in bars]
    assert done == ([*range(10, STEPS, 10), STEPS] if lean else list(range(1, STEPS + 1))) * 2
    for text, number in zip(bars, done):
        total = int(re.findall(r"\d+/(\d+)", text)[-1])
        assert text.count("━") == 24 * number // total and text.count("━") + text.count("╌") == 24
        assert text.endswith(" steps/s")
        assert total == STEPS
    assert ("train/loss" in bars[0]) == lean  # read every ten steps
    assert "train/loss" in bars[-1]


def twelfth_of_forty_epochs(**limits: Any) -> tuple[Progress, Any]:
    """A training at the 310th of 400 batches, 100 seconds after the 0th of the same epoch."""
    values = {"max_epochs": 40, "max_steps": -1, "accumulate_grad_batches": 1, "callbacks": []} | limits
    trainer = SimpleNamespace(
        current_epoch=11, global_step=4710, train_dataloader=None, num_training_batches=400, **values
    )
    progress = Progress(stream=Terminal())
    progress.latest = {"train/loss": 0.3}
    progress._pace.left(trainer, 0, 400, now=0.0)
    return progress, trainer


@pytest.mark.parametrize(
    ("width", "bar"),
    [
        (100, f"epoch 12/40 {'━' * 18}{'╌' * 6} 310/400  61 min left  train/loss 0.3  47 steps/s"),
        (79, f"epoch 12/40 {'━' * 9}{'╌' * 3} 310/400  61 min left  train/loss 0.3  47 steps/s"),
        (60, f"epoch 12/40 {'━' * 9}{'╌' * 3} 310/400  61 min left"),
        (40, "epoch 12/40 310/400  61 min left"),
        (25, "epoch 12/40  61 min left"),
        (19, "12/40  61 min left"),
    ],
)
def test_the_bar_fits_any_terminal(width: int, bar: str) -> None:
    progress, trainer = twelfth_of_forty_epochs()
    assert progress._bar(trainer, 310, 100.0, width) == bar
    assert len(progress._bar(trainer, 310, 100.0, width - 1)) < width


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, "61 min left"),  # 28 epochs and 90 batches at 3.1 batches a second
        ({"max_steps": 4989}, "  90 s left"),  # 279 steps more
        ({"max_steps": 2400, "accumulate_grad_batches": 2}, "  29 s left"),  # 90 batches more
        ({"max_epochs": -1, "max_steps": 4989}, "epoch 12 ━"),
        ({"max_epochs": -1}, ""),
        ({"callbacks": [Timer(duration={"seconds": 45})]}, "  45 s left"),
    ],
)
def test_the_time_that_is_left(limits: dict[str, Any], left: str) -> None:
    progress, trainer = twelfth_of_forty_epochs(**limits)
    bar = progress._bar(trainer, 310, 100.0, 120)
    assert left in bar and (" left" in bar) == bool(left)
    assert ("/-1" in bar) is False


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (9000, "2.5 h"), (260000, "3 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (60, "epoch 1/1  val/loss 0.6931  val/a_long_name 0.5  0.0 s"),
        (40, "epoch 1/1  val/a_long_name 0.5  0.0 s"),
        (32, "epoch 1/1  val/a_long_name 0.5"),
        (20, "epoch 1/1  0.5"),
    ],
)
def test_the_line_of_an_epoch_fits(width: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    progress = Progress(stream=io.StringIO())
    progress._epoch_loss, progress._epoch_started_at = [(0.6931, 10)], time.perf_counter()
    trainer = SimpleNamespace(
        state=SimpleNamespace(fn="fit"), current_epoch=0, global_step=10, is_global_zero=True, max_epochs=1
    )
    module = SimpleNamespace(
        measured={"val": {"loss": 0.69312, "a_long_name": 0.5}}, monitor="val/a_long_name"
    )
    progress.on_validation_end(trainer, module)  # type: ignore[arg-type]
    assert progress.stream.getvalue() == f"{line}\n"  # type: ignore[attr-defined]
