"""Retrieval: (query, item) pairs, two embeddings that lie close where the pair belongs together."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lit_mlfund.data.batch import Inputs, PairBatch
from lit_mlfund.metrics import Evaluation, PositiveRanks, embedding_ranks, evaluate_retrieval
from lit_mlfund.modules.base import Evidence, TaskModule

# items embedded at a time when a whole corpus is encoded
CORPUS_BLOCK = 4096


class RetrievalModule(TaskModule):
    """Trains a model of two towers; the other items of a batch are the negatives.

    Metrics are those of a search through the *whole* corpus of the split, not among a few sampled candidates,
    whose ranks say little about the ranks in the corpus (Krichene & Rendle 2020).
    """

    task = "retrieval"
    metrics: ClassVar[dict[str, str]] = {
        "recall@1": "max",
        "recall@10": "max",
        "recall@100": "max",
        "mrr@10": "max",
        "ndcg@10": "max",
    }

    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        return self.model(batch.query, batch.item)

    def _loss(self, query: Tensor, item: Tensor, batch: PairBatch) -> Tensor:
        negatives = None if batch.negatives is None else self.model.encode_item(batch.negatives)
        return self.loss(
            query, item, item_id=batch.item_id, negatives=negatives, log_q=batch.log_q, weight=batch.weight
        )

    def batch_loss(self, batch: PairBatch) -> Tensor:
        return self._loss(*self(batch), batch)

    def evidence(self, batch: PairBatch) -> tuple[Tensor, Evidence]:
        query, item = self(batch)
        evidence = {"output": query.float(), "target": batch.item_id}
        if batch.query_id is not None:
            evidence["query"] = batch.query_id
        if batch.index is not None:
            evidence["index"] = batch.index
        return self._loss(query, item, batch), evidence

    @torch.no_grad()
    def encode_corpus(self, items: Inputs) -> Tensor:
        """Embeddings `[num_items, D]` of a corpus, a block at a time, on this module's device."""
        size = next(iter(items.values())).shape[0]
        blocks = [
            self.model.encode_item({k: v[start : start + CORPUS_BLOCK].to(self.device) for k, v in items.items()})
            for start in range(0, size, CORPUS_BLOCK)
        ]
        return torch.cat(blocks).float()

    def ranks(self, evidence: Evidence, split: str) -> PositiveRanks:
        """Where each query's item stands among the corpus of the split, by cosine similarity."""
        data = self.trainer.datamodule
        query = nn.functional.normalize(evidence["output"], dim=-1)
        corpus = nn.functional.normalize(self.encode_corpus(data.corpus(split)), dim=-1)
        return embedding_ranks(query, corpus.to(query.device), evidence["target"], exclude=data.seen(split))

    def evaluate(self, evidence: Evidence, split: str) -> Evaluation:
        ranks = self.ranks(evidence, split)
        evidence["rank"] = ranks.num_above + 1 + (ranks.num_level - 1) // 2
        return evaluate_retrieval(ranks)

    def predictions(self, evidence: Evidence) -> dict[str, Any]:
        return {"rank": evidence["rank"].cpu().numpy()}
