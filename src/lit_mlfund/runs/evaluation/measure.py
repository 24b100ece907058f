"""Measures a trained module, and the references beside it, on the same rows by the same code."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer

from lit_mlfund.atomic import whole_file, write_text
from lit_mlfund.datamodules import DataModule
from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules import TaskModule

Measured = dict[str, dict[str, float]]  # metric -> value, low, high
SPLITS = ("val", "test")
REFERENCE_SPLITS = ("test",)  # the validation split has chosen the model: no place for a comparison


def measure_splits(
    trainer: Trainer,
    module: TaskModule,
    data: DataModule,
    checkpoint: str | None,
    splits: tuple[str, ...] = SPLITS,
) -> dict[str, Measured]:
    """Return every metric of the splits with its interval, from `checkpoint` or from the weights as they are."""
    measured = {}
    trainer.loggers = []  # what is measured after training is no point of its curves
    for split in splits:
        run = trainer.validate if split == "val" else trainer.test
        run(module, datamodule=data, ckpt_path=checkpoint, verbose=False, weights_only=True)
        measured[split] = intervals(module.evaluations[split])
    return measured


def intervals(evaluation: Evaluation) -> Measured:
    """Return the plain numbers of an evaluation: metric -> value, low, high."""
    return {name: interval.to_dict() for name, interval in evaluation.intervals().items()}


def measure_references(module: TaskModule, data: DataModule, seed: int) -> dict[str, dict[str, Measured]]:
    """Return reference -> split -> metric -> value, low, high, on the rows that the module was measured on."""
    measured: dict[str, dict[str, Measured]] = {}
    for name, split, values in module.references(data, REFERENCE_SPLITS, seed):
        measured.setdefault(name, {})[split] = intervals(module.evaluation(values))
    return measured


def write_predictions(folder: Path, module: TaskModule) -> None:
    """Write one Parquet file per measured split: the row of the file, the target, and what the model says.

    Texts of the module, such as a sample of a language model, go beside them.
    """
    folder.mkdir(exist_ok=True)
    for name, text in module.texts().items():
        write_text(folder / f"{name}.txt", text)
    for split, outputs in module.collected.items():
        with whole_file(folder / f"{split}.parquet") as path:
            module.prediction_table(outputs).write_parquet(path)
