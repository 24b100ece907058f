"""Accumulates metrics over pieces of a split larger than memory: a few numbers per row, query or window."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.outputs import Outputs


class MetricAccumulator:
    """Accumulates the values from which the metrics of a split are computed, from the outputs of its pieces.

    counts  evaluated `rows`; for lists also `queries`; for a text `characters` and `windows`
    """

    def __init__(self, module: TaskModule, split: str) -> None:
        self.module = module
        self.split = split
        self.counts: Counter[str] = Counter()
        self._columns: dict[str, _Column] = {}

    def add(self, outputs: Outputs) -> None:
        """Add the values that the metrics need of one piece."""
        self.counts.update(self.module.count(outputs))
        for name, values in self.module.metric_values(outputs, self.split).items():
            self._columns.setdefault(name, _Column(values)).append(values)

    def evaluation(self) -> Evaluation:
        """Compute the metrics of all pieces together."""
        return self.module.evaluation({name: column.tensor for name, column in self._columns.items()})


class _Column:
    """Grows one array of rows, as many small ones would keep freed memory from being returned."""

    def __init__(self, example: Tensor) -> None:
        self.rows = example[:0].cpu().numpy().copy()
        self.size = 0

    def append(self, values: Tensor) -> None:
        size = self.size + len(values)
        if size > len(self.rows):
            capacity = max(size, len(self.rows) * 3 // 2)
            self.rows.resize((capacity, *self.rows.shape[1:]), refcheck=False)
        self.rows[self.size : size] = values.cpu().numpy()
        self.size = size

    @property
    def tensor(self) -> Tensor:
        return torch.from_numpy(self.rows[: self.size])
