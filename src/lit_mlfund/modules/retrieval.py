"""Retrieval: (query, item) pairs, two embeddings that lie close where the pair belongs together."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.batch import Inputs, PairBatch
from lit_mlfund.metrics import Evaluation, PositiveRanks, embedding_ranks, evaluate_retrieval
from lit_mlfund.modules.base import TaskModule
from lit_mlfund.modules.outputs import Evidence

# items embedded at a time when a whole corpus is encoded
CORPUS_BLOCK = 4096


class RetrievalModule(TaskModule):
    """Trains a model of two towers; the other items of a batch are the negatives.

    Metrics are those of a search through the *whole* corpus of the split, not among a few sampled candidates,
    whose ranks say little about the ranks in the corpus (Krichene & Rendle 2020).
    """

    task = "retrieval"
    model: Any  # with `encode_query` and `encode_item`
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
        query, item = self(batch)
        return self._loss(query, item, batch)

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
            self.model.encode_item(
                {k: v[start : start + CORPUS_BLOCK].to(self.device) for k, v in items.items()}
            )
            for start in range(0, size, CORPUS_BLOCK)
        ]
        return torch.cat(blocks).float()

    def ranks(self, evidence: Evidence, split: str) -> PositiveRanks:
        """Where each query's item stands among the corpus of the split, by cosine similarity."""
        query, corpus = self._unit_vectors(evidence, split)
        return embedding_ranks(query, corpus, evidence["target"], exclude=self.source.seen(split))

    def search(self, evidence: Evidence, split: str, k: int, block: int = 1024) -> tuple[Tensor, Tensor]:
        """Similarities and rows of the `k` best items of the corpus for each query, `[Q, k]` each, best first.

        Items that a query has seen already are left out (their similarity is -inf where too few are left).
        """
        query, corpus = self._unit_vectors(evidence, split)
        seen = self.source.seen(split)
        found = []
        for start in range(0, len(query), block):
            scores = query[start : start + block] @ corpus.T
            for row, items in enumerate(seen[start : start + block] if seen is not None else ()):
                scores[row, items] = -torch.inf
            found.append(scores.topk(k, dim=1))
        return torch.cat([part.values for part in found]).cpu(), torch.cat(
            [part.indices for part in found]
        ).cpu()

    def _unit_vectors(self, evidence: Evidence, split: str) -> tuple[Tensor, Tensor]:
        query = nn.functional.normalize(evidence["output"], dim=-1)
        corpus = nn.functional.normalize(self.encode_corpus(self.source.corpus(split)), dim=-1)
        return query, corpus.to(query.device)

    @property
    def source(self) -> Any:
        """The data module that holds the corpus."""
        return self.data if self.data is not None else self.trainer.datamodule  # type: ignore[attr-defined]

    def evaluate(self, evidence: Evidence, split: str) -> Evaluation:
        ranks = self.ranks(evidence, split)
        evidence["rank"] = ranks.num_above + 1 + (ranks.num_tied - 1) // 2
        return evaluate_retrieval(ranks)

    def predictions(self, evidence: Evidence) -> dict[str, Any]:
        return {"rank": evidence["rank"].cpu().numpy()}
