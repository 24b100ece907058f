"""Writes TensorBoard event files; not in the package's `__init__`, so that TensorBoard is imported on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor


class EventFiles(TensorBoardLogger):
    """Extends Lightning's TensorBoard logger: writes one event per step, and no hyperparameter file.

    That file would be empty: the hyperparameters are in `run.yaml`.
    """

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers and scalar tensors as one event; leave other values to Lightning."""
        if not all(isinstance(value, (int, float, Tensor)) for value in metrics.values()):
            return super().log_metrics(metrics, step)
        values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in metrics.items()]
        self.experiment._get_file_writer().add_summary(Summary(value=values), step)

    @rank_zero_only
    def save(self) -> None:
        """Flush logged events to disk, so that they are visible and survive a kill."""
        self.experiment.flush()
