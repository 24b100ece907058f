"""TensorBoard's event files of a run. Not in the package's `__init__`: TensorBoard is imported by whoever wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor


class EventFiles(TensorBoardLogger):
    """Lightning's logger for TensorBoard with one event for all numbers of a step, and no file of hyperparameters.

    That file would be empty: `run.yaml` has them.
    """

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers and scalar tensors by name; anything else as Lightning does."""
        if not all(isinstance(value, (int, float, Tensor)) for value in metrics.values()):
            return super().log_metrics(metrics, step)
        values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in metrics.items()]
        self.experiment._get_file_writer().add_summary(Summary(value=values), step)

    @rank_zero_only
    def save(self) -> None:
        """Write what was logged, so that it can be seen and outlives a kill."""
        self.experiment.flush()
