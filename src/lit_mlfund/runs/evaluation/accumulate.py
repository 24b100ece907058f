"""Accumulates metrics over the pieces of a split that is larger than memory: a few numbers per row, query or window."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.outputs import Outputs


class MetricAccumulator:
    """Condenses the outputs of pieces of a split to what its metrics are computed of.

    counts  of what was measured: `rows`; for lists also `queries`; for a text `characters` and `windows`
    """

    def __init__(self, module: TaskModule, split: str) -> None:
        self.module = module
        self.split = split
        self.counts: Counter[str] = Counter()
        self._columns: dict[str, _Column] = {}

    def add(self, outputs: Outputs) -> None:
        """Keep what the metrics need of a piece."""
        self.counts.update(self.module.count(outputs))
        for name, values in self.module.metric_values(outputs, self.split).items():
            self._columns.setdefault(name, _Column(values)).append(values)

    def evaluation(self) -> Evaluation:
        """Compute the metrics of all pieces together."""
        return self.module.evaluation({name: column.tensor for name, column in self._columns.items()})


class _Column:
    """Grows one array of rows: between many small ones, memory that was freed is not given back."""

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
