"""Ranking: a query's list of documents with graded relevance, one score each."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import ListBatch
from lit_mlfund.metrics import Evaluation, evaluate_ranking
from lit_mlfund.modules.base import TaskModule
from lit_mlfund.modules.outputs import Evidence


class RankingModule(TaskModule):
    """Trains a model that returns scores `[Q, L]`.

    A loss that was made for single rows (MSE, cross-entropy on a 0/1 relevance) is given the real documents as
    one flat batch: the "pointwise" approach of learning to rank, worth having as the one to beat.
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

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        parts = list(getattr(self.loss, "losses", {"": self.loss}).values())
        takes_lists = ["mask" in inspect.signature(part.forward).parameters for part in parts]
        if len(set(takes_lists)) > 1:
            raise ValueError(
                "a composite loss for ranking cannot mix losses of lists with losses of single rows"
            )
        self.pointwise = not takes_lists[0]

    def forward(self, batch: ListBatch) -> Tensor:
        return self.model(batch.x, mask=batch.mask)

    def _loss(self, scores: Tensor, batch: ListBatch) -> Tensor:
        mask, weight = batch.mask, batch.weight
        if not self.pointwise:
            return self.loss(scores, batch.relevance, mask=mask, weight=weight)
        if weight is not None:
            weight = weight[:, None].expand_as(mask)[mask]
        return self.loss(scores[mask], batch.relevance[mask], weight=weight)

    def batch_loss(self, batch: ListBatch) -> Tensor:
        return self._loss(self(batch), batch)

    def evidence(self, batch: ListBatch) -> tuple[Tensor, Evidence]:
        scores = self(batch)
        evidence = {"output": scores.float(), "target": batch.relevance, "mask": batch.mask}
        if batch.index is not None:
            # one more than the row, so that the zeros of a wider padding stay what padding is: no row
            evidence["row"] = batch.index + 1
        if batch.query is not None:
            evidence["index"] = batch.query
        return self._loss(scores, batch), evidence

    def evaluate(self, evidence: Evidence, split: str) -> Evaluation:
        return evaluate_ranking(evidence["output"], evidence["target"], evidence["mask"])

    def predictions(self, evidence: Evidence) -> dict[str, Any]:
        mask = evidence["mask"]
        scores = evidence["output"].masked_fill(~mask, -torch.inf)
        order = scores.argsort(dim=1, descending=True, stable=True)
        ranks = torch.empty_like(order).scatter_(
            1, order, torch.arange(1, order.shape[1] + 1, device=order.device).expand_as(order)
        )
        return {"score": evidence["output"][mask].cpu().numpy(), "rank": ranks[mask].cpu().numpy()}
