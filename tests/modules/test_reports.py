"""Callbacks and loggers learn of a validation what `self.log` would tell them, at the optimizer step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_mlfund.callbacks import Progress
from lit_mlfund.callbacks.event_files import EventFiles
from lit_mlfund.modules import BinaryModule
from tests.modules.test_lean import EPOCHS, STEPS, fit


class Logger(CSVLogger):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reported: list[tuple[dict[str, float], int | None]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if "val/loss" in metrics:
            self.reported.append((metrics, step))


@pytest.mark.parametrize("lean", [True, False])
def test_as_self_log_would(tmp_path: Path, lean: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Logger(tmp_path / "1"), Logger(tmp_path / "2")
    module = fit(tmp_path / "a", lean=lean, logger=ours)
    monkeypatch.setattr(BinaryModule, "report", lambda self, values: self.log_dict(values))
    expected = fit(tmp_path / "b", lean=False, logger=theirs)
    for metrics in ("callback_metrics", "logged_metrics"):
        found, wanted = (
            {name: value for name, value in getattr(one.trainer, metrics).items() if name.startswith("val/")}
            for one in (module, expected)
        )
        assert found == wanted
        assert len(found) == 8
        assert all(value.dtype == torch.float32 for value in found.values())
    for (values, _), (wanted, _) in zip(ours.reported, theirs.reported, strict=True):
        assert values == pytest.approx({name: value for name, value in wanted.items() if name[:4] == "val/"})
    assert [step for _, step in ours.reported] == [STEPS * epoch for epoch in range(1, EPOCHS + 1)]


def test_a_callback_of_lightning_follows_a_metric(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path / "own", monitor="val/auroc", mode="max")
    module = fit(tmp_path, best, lean=False)
    progress = next(one for one in module.trainer.callbacks if isinstance(one, Progress))  # type: ignore[attr-defined]
    values = [entry["val/auroc"] for entry in progress.history]
    assert float(best.best_model_score) == pytest.approx(max(values))  # type: ignore[arg-type]


def test_nothing_is_logged_of_a_sanity_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch import Trainer

    made = Trainer.__init__
    monkeypatch.setattr(
        Trainer,
        "__init__",
        lambda self, *args, **options: made(self, *args, **{**options, "num_sanity_val_steps": 1}),
    )
    logger = Logger(tmp_path)
    fit(tmp_path, lean=False, logger=logger)
    assert len(logger.reported) == EPOCHS


def test_event_files(tmp_path: Path) -> None:
    logger = EventFiles(tmp_path, name="tensorboard", version="", default_hp_metric=False)
    values: dict[str, Any] = {"a": 1.5, "b": torch.tensor(2.5), "c": float("nan"), "d": 3}
    logger.log_metrics(values, step=7)
    logger.save()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert {tag: entry.step for tag, (entry,) in found.items()} == dict.fromkeys(values, 7)
    assert [found[tag][0].value for tag in "abd"] == [1.5, 2.5, 3]
    logger.log_metrics({"group": {"x": 1.0}}, step=8)  # as Lightning's own: a file for each
    with pytest.raises(ValueError, match="not supported"):
        logger.log_metrics({"text": "no"}, step=9)
    logger.finalize("success")
    assert not list(tmp_path.rglob("hparams.yaml"))
