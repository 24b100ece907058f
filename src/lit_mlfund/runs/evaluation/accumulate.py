"""What is kept of rows that are measured piece by piece: a few numbers of each row, query or window of a text."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from lit_mlfund.metrics import (
    Evaluation,
    evaluate_queries,
    evaluate_windows,
    ranking_values,
    retrieval_values,
    token_values,
)
from lit_mlfund.modules import NextTokenModule, RankingModule, RetrievalModule, TaskModule
from lit_mlfund.modules.outputs import Evidence


class Gathered:
    """The evidence of pieces of a split, condensed to what its metrics are made of.

    counts  of what was measured: `rows`; for lists also `queries`; for a text `characters` and `windows`
    """

    def __init__(self, module: TaskModule, split: str) -> None:
        self.module = module
        self.split = split
        self.counts: Counter[str] = Counter()
        self._columns: dict[str, _Column] = {}

    def add(self, evidence: Evidence) -> None:
        """Keep what the metrics need of a piece."""
        for name, values in self._condense(evidence).items():
            self._columns.setdefault(name, _Column(values)).append(values)

    def evaluation(self) -> Evaluation:
        """The metrics of all pieces together."""
        values = {name: column.tensor for name, column in self._columns.items()}
        if isinstance(self.module, (RankingModule, RetrievalModule)):
            return evaluate_queries(values)
        if isinstance(self.module, NextTokenModule):
            return evaluate_windows(values)
        return self.module.evaluate(values, self.split)

    def _condense(self, evidence: Evidence) -> dict[str, Tensor]:
        module, size = self.module, len(evidence["output"])
        if isinstance(module, RankingModule):
            self.counts.update(rows=int(evidence["mask"].sum()), queries=size)
            return ranking_values(evidence["output"], evidence["target"], evidence["mask"])
        if isinstance(module, NextTokenModule):
            self.counts.update(characters=int(evidence["mask"].sum()), windows=size)
            correct = evidence["prediction"] == evidence["target"]
            return token_values(evidence["output"], correct, evidence["mask"])
        self.counts.update(rows=size)
        if isinstance(module, RetrievalModule):
            return retrieval_values(module.ranks(evidence, self.split))
        return {name: evidence[name] for name in ("output", "target", "weight") if name in evidence}


class _Column:
    """Rows in one array that grows: between many small ones, memory that was freed is not given back."""

    def __init__(self, like: Tensor) -> None:
        self.rows = like[:0].cpu().numpy().copy()
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
