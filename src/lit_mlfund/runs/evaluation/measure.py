"""Evaluates a trained module, and its references, on the same rows by the same code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning.pytorch import Trainer

from lit_mlfund.atomic import whole_file, write_text
from lit_mlfund.datamodules import DataModule
from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules import TaskModule
from lit_mlfund.references.fitting import Fitting

Measured = dict[str, dict[str, float]]  # metric -> value, low, high
SPLITS = ("val", "test")
REFERENCE_SPLITS = ("test",)  # not val, on which the model has an advantage: it selected the checkpoint


def measure_splits(
    trainer: Trainer,
    module: TaskModule,
    data: DataModule,
    checkpoint: str | None,
    splits: tuple[str, ...] = SPLITS,
) -> dict[str, Measured]:
    """Evaluate every metric of the splits with its interval, from `checkpoint` or with the current weights."""
    measured = {}
    trainer.loggers = []  # evaluations after training are not part of its curves
    for split in splits:
        evaluate = trainer.validate if split == "val" else trainer.test
        evaluate(module, datamodule=data, ckpt_path=checkpoint, verbose=False, weights_only=True)
        measured[split] = intervals(module.evaluations[split])
    return measured


def intervals(evaluation: Evaluation) -> Measured:
    """Return an evaluation as plain numbers: metric -> value, low, high."""
    return {name: interval.to_dict() for name, interval in evaluation.intervals().items()}


def evaluate_references(
    module: TaskModule, data: DataModule, seed: int, fitting: Fitting
) -> dict[str, dict[str, Evaluation]]:
    """Return reference -> split -> its evaluation, on the rows on which the module was evaluated."""
    evaluated: dict[str, dict[str, Evaluation]] = {}
    with shown_fitting(fitting):
        for name, split, values in module.references(data, REFERENCE_SPLITS, seed):
            evaluated.setdefault(name, {})[split] = module.evaluation(values)
    return evaluated


@contextmanager
def shown_fitting(fitting: Fitting) -> Iterator[None]:
    """Limit each reference that is fitted in the block, and show on a terminal which one that is."""
    fitting.show = _show_on_terminal
    with fitting.active():
        try:
            yield
        finally:
            _show_on_terminal("", 0.0)


def _show_on_terminal(name: str, elapsed: float) -> None:
    """Replace the last line of a terminal by the reference that is being fitted, or clear it."""
    if sys.stderr.isatty():
        text = f"reference {name.replace('_', ' ')}  {elapsed:.0f} s" if name else ""
        with suppress(OSError):
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()


def write_predictions(folder: Path, module: TaskModule) -> None:
    """Write one Parquet file per evaluated split: row of the file, target and prediction.

    Texts of the module, such as a sample of a language model, are written beside them.
    """
    folder.mkdir(exist_ok=True)
    for name, text in module.texts().items():
        write_text(folder / f"{name}.txt", text)
    for split, outputs in module.collected.items():
        with whole_file(folder / f"{split}.parquet") as path:
            module.prediction_table(outputs).write_parquet(path)
