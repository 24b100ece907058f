"""Evaluates a trained module, and its references, on the same rows by the same code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer

from lit_mlfund.atomic import whole_file, write_text
from lit_mlfund.datamodules import DataModule
from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules import TaskModule
from lit_mlfund.references.fitting import Fitting
from lit_mlfund.startup.streams import show_status

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
    module: TaskModule, data: DataModule, seed: int, seconds: float | None = None
) -> tuple[dict[str, dict[str, Evaluation]], dict[str, str]]:
    """Return reference -> split -> its evaluation, on the rows on which the module was evaluated.

    Also return the references that are left out, as they took longer than `seconds` each, with the reason.
    """
    evaluated: dict[str, dict[str, Evaluation]] = {}
    with fitting_references(seconds) as fitting:
        for name, split, values in module.references(data, REFERENCE_SPLITS, seed):
            evaluated.setdefault(name, {})[split] = module.evaluation(values)
    return evaluated, fitting.left_out


@contextmanager
def fitting_references(seconds: float | None) -> Iterator[Fitting]:
    """Limit each reference that is fitted in the block, and show on a terminal which one that is."""
    with Fitting(seconds, _show_on_terminal).active() as fitting:
        try:
            yield fitting
        finally:
            show_status("")


def _show_on_terminal(name: str, elapsed: float) -> None:
    """Show the reference that is being fitted as the status of a terminal."""
    show_status(f"reference {name.replace('_', ' ')}  {elapsed:.0f} s")


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
