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
from lit_mlfund.run_folders.resamples import write_resamples
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
    for split in splits:
        measure_outputs(trainer, module, data, checkpoint, split)
        measured[split] = intervals(module.evaluations[split])
    return measured


def measure_outputs(
    trainer: Trainer, module: TaskModule, data: DataModule, checkpoint: str | None, split: str
) -> None:
    """Evaluate a split, from `checkpoint` or with the current weights; the module holds the result."""
    trainer.loggers = []  # evaluations after training are not part of its curves
    evaluate = trainer.validate if split == "val" else trainer.test
    evaluate(module, datamodule=data, ckpt_path=checkpoint, verbose=False, weights_only=True)


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
            show_status("")


def _show_on_terminal(name: str, elapsed: float) -> None:
    """Show the reference that is being fitted as the status of a terminal."""
    show_status(f"reference {name.replace('_', ' ')}  {elapsed:.0f} s")


def write_predictions(run_dir: Path, module: TaskModule) -> None:
    """Write one Parquet file per evaluated split: row of the file, target and prediction.

    Texts of the module, such as a sample of a language model, are written beside them, and the test metrics on
    resampled rows, by which runs are compared.
    """
    folder = run_dir / "predictions"
    folder.mkdir(exist_ok=True)
    for name, text in module.texts().items():
        write_text(folder / f"{name}.txt", text)
    for split, outputs in module.collected.items():
        with whole_file(folder / f"{split}.parquet") as path:
            module.prediction_table(outputs).write_parquet(path)
    if "test" in module.collected:
        write_resamples(run_dir, module.collected["test"].digest(), module.evaluations["test"].resamples())
