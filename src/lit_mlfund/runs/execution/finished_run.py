"""Opens a finished run, to evaluate it on its splits or on new rows, and to predict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import torch
from omegaconf import OmegaConf

from lit_mlfund.callbacks.checkpoint_file import read_checkpoint
from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.errors import ConfigError, first_line
from lit_mlfund.data.reading.frames import Source, is_frame, like_given, name_of
from lit_mlfund.data.reading.write import table_writer
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.datamodules import DataModule
from lit_mlfund.datamodules.retrieval import NEW
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.outputs import Outputs
from lit_mlfund.reports import run_text
from lit_mlfund.runs.assembly.objects import build_data, build_module
from lit_mlfund.runs.assembly.precision import in_precision
from lit_mlfund.runs.evaluation.accumulate import MetricAccumulator
from lit_mlfund.runs.evaluation.measure import intervals
from lit_mlfund.runs.execution.strangers import NEEDED, load_checked


class Run:
    """Opens a run folder: its results, and the trained model with its data.

    Args:
        folder: the run folder.
        checkpoint: `best`, `last` or a path.
        trust: packages of others whose classes the run may name.

    Raises:
        ConfigError: there is no such run, or it would build what it must not.
    """

    def __init__(self, folder: str | Path, checkpoint: str = "best", trust: Iterable[str] = ()):
        self.folder = Path(folder).expanduser().absolute()
        self.checkpoint = checkpoint
        self.config = load_checked(self.folder, trust, NEEDED)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def __str__(self) -> str:
        """Return the table of results and the verdict, as the command line prints them."""
        return run_text(self.folder).strip()

    @property
    def result(self) -> dict[str, Any]:
        """Return the contents of `result.json`: status, objective, test metrics, references, findings."""
        return self._json("result.json")

    @property
    def metrics(self) -> dict[str, Any]:
        """Return the contents of `metrics.json`: every split, every reference, the history by epoch and by step."""
        return self._json("metrics.json")

    @property
    def findings(self) -> list[dict[str, Any]]:
        """Return the contents of `findings.json`: problems, the evidence, and what to change."""
        return self._json("findings.json")

    @property
    def module(self) -> TaskModule:
        """Return the task module with the weights of the checkpoint, in evaluation mode.

        Raises:
            ConfigError: the checkpoint is missing, damaged, hostile or of another task.
        """
        return self._parts[0]

    @property
    def data(self) -> DataModule:
        """Return the data module with the fitted preprocessing; its own data are read by `setup()`."""
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[TaskModule, DataModule]:
        config = OmegaConf.create(self.config)
        named = self.folder / "checkpoints" / f"{self.checkpoint}.ckpt"
        path = named if self.checkpoint in ("best", "last") else Path(self.checkpoint)
        state = read_checkpoint(path)
        metadata, task = state["lit_mlfund"], task_name(config)
        if metadata.get("task") != task:
            raise ConfigError(
                f"checkpoint: {path} is of task {metadata.get('task')}, the run is of task {task}"
            )
        data = build_data(config)
        try:
            data.load_state_dict(state[type(data).__qualname__])
            module = build_module(config, DataSpec.from_dict(metadata["spec"]))
            module.load_state_dict(state["state_dict"])
            module.on_load_checkpoint(state)
        except (LookupError, RuntimeError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"checkpoint: {path} does not fit the configuration of {self.folder}: {first_line(error)}"
            ) from error
        module.data = data
        in_precision(module, config.trainer.get("precision", "32-true"))
        return module.eval(), data

    def _json(self, name: str) -> Any:
        file = self.folder / name
        if not file.exists():
            raise FileNotFoundError(f"{file}: the run has not written this file; has it ended?")
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"run: {file} is damaged: {first_line(error)}") from error

    def evaluate(self, source: Source | None = None, *, split: str = "test") -> dict[str, Any]:
        """Return every metric with its 95 % interval, and the counts of evaluated examples.

        Counts are `rows`; for ranking also `queries`; for a text `characters` and `windows` instead.

        Args:
            source: a new file or frame with labels; None evaluates a split of the run's own data.
            split: val or test.

        Raises:
            DataError: the file does not fit.
        """
        loaders: Iterable[BatchLoader]
        if source is None:
            self.data.setup()
            loaders = [self.data.loader(split)]
        else:
            split = NEW
            loaders = (loader for loader, _ in self._pieces(source, need_target=True))
        metrics = MetricAccumulator(self.module, split)
        for loader in loaders:
            metrics.add(self._outputs(loader))
        return {
            "run": str(self.folder),
            "checkpoint": self.checkpoint,
            "split": split,
            "path": None if source is None else name_of(source),
            **metrics.counts,
            "metrics": intervals(metrics.evaluation()),
            "notes": self.data.notes,
        }

    def predict(self, source: Source) -> Any:
        """Return the rows of a new file or frame, each with its prediction.

        For retrieval, return one row per query and rank: the ten best items of the corpus. The frame is a pandas one if
        `source` is, else a polars one. Afterwards `data.notes` counts unknown categories and imputed cells.

        Raises:
            DataError: the file does not fit.
        """
        return like_given(pl.concat([predicted for predicted, _ in self._predicted(source)]), source)

    def predict_to(self, source: Source, output: str) -> dict[str, Any]:
        """Write the table of `predict` to a Parquet or CSV file, piece by piece; return a summary."""
        rows, columns = 0, []
        with table_writer(output) as writer:
            for predicted, frame in self._predicted(source):
                writer.write(predicted)
                rows += frame.height
                aligned = (
                    predicted.height == frame.height
                )  # behind the columns of the file; else for each query
                columns = predicted.columns[frame.width if aligned else 0 :]
        return {
            "run": str(self.folder),
            "checkpoint": self.checkpoint,
            "output": output,
            "columns": columns,
            self.module.unit: rows,
            "notes": self.data.notes,
        }

    def _predicted(self, source: Source) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Yield the predictions of each piece, and the rows of the piece."""
        rows = 0
        for loader, frame in self._pieces(source, need_target=False):
            yield self.module.predict_rows(frame, self._outputs(loader), first=rows), frame
            rows += frame.height

    def _pieces(self, source: Source, need_target: bool) -> Iterator[tuple[BatchLoader, pl.DataFrame]]:
        if is_frame(source) and not self.data.takes_frames:
            raise ValueError(f"{type(self.data).__name__} reads files only; pass a path")
        return self.data.new_pieces(source, need_target=need_target)

    @torch.inference_mode()
    def _outputs(self, loader: BatchLoader) -> Outputs:
        """Run the module on the examples of a loader."""
        for batch in loader:
            self.module.collect(batch)
        return self.module.drain()[0]
