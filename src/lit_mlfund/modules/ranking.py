"""Ranks the documents of a query, which have graded relevance, by one score each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.batch import ListBatch
from lit_mlfund.losses import LambdaRankLoss
from lit_mlfund.metrics import Evaluation, evaluate_queries, ranking_values
from lit_mlfund.modules.base import TaskModule
from lit_mlfund.modules.outputs import ListOutputs
from lit_mlfund.modules.steps.members import training_outputs


class RankingModule(TaskModule):
    """Trains a model that returns scores `[Q, L]`.

    A loss for single rows (MSE, cross-entropy on a 0/1 relevance) receives the real documents as one flat batch:
    the "pointwise" approach of learning to rank, useful as a baseline.
    """

    task = "ranking"
    metrics: ClassVar[dict[str, str]] = {
        "ndcg@5": "max",
        "ndcg@10": "max",
        "mrr@10": "max",
        "map": "max",
        "precision@10": "max",
        "recall@10": "max",
    }
    figures = ("scores_by_relevance",)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        parts = list(getattr(self.loss, "losses", {"": self.loss}).values())
        takes_lists = ["mask" in inspect.signature(part.forward).parameters for part in parts]
        if len(set(takes_lists)) > 1:
            raise ValueError(
                "a composite loss for ranking cannot mix losses of lists with losses of single rows"
            )
        self.pointwise = not takes_lists[0]

    def default_loss(self) -> nn.Module:
        return LambdaRankLoss()

    def forward(self, batch: ListBatch) -> Tensor:
        return self.model(batch.x, mask=batch.mask)

    def _loss(self, scores: Tensor, batch: ListBatch) -> Tensor:
        mask, weight = batch.mask, batch.weight
        if not self.pointwise:
            weights = {} if weight is None else {"weight": weight}
            return self.loss(scores, batch.relevance, mask=mask, **weights)
        weights = {} if weight is None else {"weight": weight[:, None].expand_as(mask)[mask]}
        return self.loss(scores[mask], batch.relevance[mask], **weights)

    def batch_loss(self, batch: ListBatch) -> Tensor:
        return self._loss(*training_outputs(self.model, batch, mask=batch.mask))

    def outputs(self, batch: ListBatch) -> tuple[Tensor, ListOutputs]:
        scores = self(batch)
        row = None if batch.index is None else batch.index + 1
        outputs = ListOutputs(scores.float(), batch.relevance, batch.mask, row, batch.query)
        return self._loss(scores, batch), outputs

    def metric_values(self, outputs: ListOutputs, split: str) -> dict[str, Tensor]:
        return ranking_values(outputs.output, outputs.target, outputs.mask)

    def evaluation(self, values: dict[str, Tensor]) -> Evaluation:
        return evaluate_queries(values)

    def count(self, outputs: ListOutputs) -> dict[str, int]:
        return {"rows": int(outputs.mask.sum()), "queries": len(outputs)}

    def references(
        self, data: Any, splits: Sequence[str], seed: int
    ) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
        return self.fitted_references(data, splits, seed)

    def predictions(self, outputs: ListOutputs) -> dict[str, Any]:
        mask = outputs.mask
        scores = outputs.output.masked_fill(~mask, -torch.inf)
        order = scores.argsort(dim=1, descending=True, stable=True)
        ranks = torch.empty_like(order).scatter_(
            1, order, torch.arange(1, order.shape[1] + 1, device=order.device).expand_as(order)
        )
        return {"score": outputs.output[mask].cpu().numpy(), "rank": ranks[mask].cpu().numpy()}
