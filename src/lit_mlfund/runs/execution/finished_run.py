"""A finished run on its splits or on a new file: measure it, or predict."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.data.reading.write import table_writer
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.datamodules import DataModule
from lit_mlfund.datamodules.retrieval import NEW
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.outputs import Outputs
from lit_mlfund.runs.assembly.objects import build_data, build_module
from lit_mlfund.runs.evaluation.accumulate import MetricAccumulator
from lit_mlfund.runs.evaluation.measure import intervals
from lit_mlfund.runs.execution.run_folder import load_frozen


def evaluate_run(run_dir: Path, *, split: str, path: str | None, checkpoint: str) -> dict[str, Any]:
    """Every metric with its interval, on a split of the run's data or on a new file, and what was counted.

    `rows` of the file; of a ranking also `queries`; of a text instead `characters` and `windows`.

    Raises:
        ConfigError: a checkpoint that is damaged, hostile or of another task.
        DataError: the file does not fit.
    """
    module, data = load_run(run_dir, checkpoint)
    loaders: Iterable[BatchLoader]
    if path is None:
        data.setup()
        loaders = [data.loader(split)]
    else:
        split = NEW
        loaders = (loader for loader, _ in data.new_pieces(path, need_target=True))
    metrics = MetricAccumulator(module, split)
    for loader in loaders:
        metrics.add(_outputs(module, data, loader))
    measured = intervals(metrics.evaluation())
    return {
        "run": str(run_dir),
        "checkpoint": checkpoint,
        "split": split,
        "path": path,
        **metrics.counts,
        "metrics": measured,
        "notes": data.notes,
    }


def predict_run(run_dir: Path, *, path: str, output: str, checkpoint: str) -> dict[str, Any]:
    """Write the rows of a new file with what the model says of each to a Parquet or CSV file.

    For retrieval one row per query and rank: the ten best items of the corpus.
    """
    module, data = load_run(run_dir, checkpoint)
    rows = 0
    with table_writer(output) as writer:
        for loader, frame in data.new_pieces(path, need_target=False):
            writer.write(module.predict_rows(frame, _outputs(module, data, loader), first=rows))
            rows += frame.height
    return {
        "run": str(run_dir),
        "checkpoint": checkpoint,
        "output": output,
        module.unit: rows,
        "notes": data.notes,
    }


def load_run(run_dir: Path, checkpoint: str = "best") -> tuple[TaskModule, DataModule]:
    """The module of a run with the weights of a checkpoint, and its data module with the fitted preprocessing.

    Args:
        run_dir: a run folder.
        checkpoint: `best`, `last` or a path.
    """
    config = OmegaConf.create(load_frozen(run_dir))
    named = run_dir / "checkpoints" / f"{checkpoint}.ckpt"
    path = named if checkpoint in ("best", "last") else Path(checkpoint)
    state = read_checkpoint(path)
    own = state["lit_mlfund"]
    task = task_name(config)
    if own["task"] != task:
        raise ConfigError(f"checkpoint: {path} is of task {own['task']}, the run is of task {task}")
    data = build_data(config)
    try:
        data.load_state_dict(state[type(data).__qualname__])
        module = build_module(config, DataSpec.from_dict(own["spec"]))
        module.load_state_dict(state["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise ConfigError(
            f"checkpoint: {path} does not fit the configuration of {run_dir}: {_first_line(error)}"
        ) from error
    return module.eval(), data


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of this project as plain tensors and Python; pickled code in it is refused, never run.

    Raises:
        ConfigError: missing, damaged, hostile, or not ours.
    """
    if not path.is_file():
        raise ConfigError(f"checkpoint: there is no file {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            raise ConfigError(f"checkpoint: {path} holds code beside tensors and was not loaded") from error
        raise ConfigError(f"checkpoint: {path} is damaged or no checkpoint") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ConfigError(f"checkpoint: {path} is damaged: {_first_line(error)}") from error
    if not isinstance(state, dict) or "lit_mlfund" not in state:
        raise ConfigError(f"checkpoint: {path} was not written by lit_mlfund")
    return state


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@torch.inference_mode()
def _outputs(module: TaskModule, data: DataModule, loader: BatchLoader) -> Outputs:
    """Run the module on the examples of a loader."""
    module.data = data
    for batch in loader:
        module.collect(batch)
    return module.drain()[0]
