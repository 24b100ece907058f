"""What training prints: one line per epoch, and on a terminal a bar between them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from lit_mlfund.callbacks import BestAndLast, Progress
from lit_mlfund.runs.assembly.trainer import build_trainer
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
