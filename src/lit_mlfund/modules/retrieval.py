"""Embeds queries and items so that each query lies close to its items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import polars as pl
import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.batch import Inputs, PairBatch
from lit_mlfund.datamodules.retrieval import NEW
from lit_mlfund.losses import InfoNCELoss
from lit_mlfund.metrics import (
    Evaluation,
    PositiveRanks,
    embedding_ranks,
    evaluate_queries,
    positive_ranks,
    retrieval_values,
)
from lit_mlfund.modules.base import TaskModule
from lit_mlfund.modules.outputs import PairOutputs
from lit_mlfund.references.fitting import fitted

CORPUS_BLOCK = 4096  # items embedded at a time when a whole corpus is encoded
ScoreBlock = Callable[[int, int], Tensor]
NUM_RESULTS = 10  # items per query that `predict` writes


class RetrievalModule(TaskModule):
    """Trains a two-tower model; the other items of a batch are the negatives.

    Metrics are those of a search through the *whole* corpus of the split, not among a few sampled candidates:
    ranks among these say little about the ranks in the corpus (Krichene & Rendle 2020).
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
    figures = ("recall_by_rank",)

    def default_loss(self) -> nn.Module:
        return InfoNCELoss()

    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        return self.model(batch.query, batch.item)

    def _loss(self, query: Tensor, item: Tensor, batch: PairBatch) -> Tensor:
        negatives = None if batch.negatives is None else self.model.encode_item(batch.negatives)
        weights = {} if batch.weight is None else {"weight": batch.weight}
        return self.loss(
            query, item, item_id=batch.item_id, negatives=negatives, log_q=batch.log_q, **weights
        )

    def batch_loss(self, batch: PairBatch) -> Tensor:
        query, item = self(batch)
        return self._loss(query, item, batch)

    def outputs(self, batch: PairBatch) -> tuple[Tensor, PairOutputs]:
        query, item = self(batch)
        outputs = PairOutputs(query.float(), batch.item_id, batch.query_id, batch.index)
        return self._loss(query, item, batch), outputs

    @torch.no_grad()
    def encode_corpus(self, items: Inputs) -> Tensor:
        """Return the embeddings `[num_items, D]` of a corpus, computed in blocks on this module's device."""
        size = next(iter(items.values())).shape[0]
        blocks = [
            self.model.encode_item(
                {k: v[start : start + CORPUS_BLOCK].to(self.device) for k, v in items.items()}
            )
            for start in range(0, size, CORPUS_BLOCK)
        ]
        return torch.cat(blocks).float()

    def ranks(self, outputs: PairOutputs, split: str) -> PositiveRanks:
        """Rank each query's item in the corpus of the split, by cosine similarity."""
        query, corpus = self._unit_vectors(outputs, split)
        seen = self.source.seen(split)
        return embedding_ranks(query, corpus, outputs.target, exclude=seen, exclude_positives=True)

    def search(self, outputs: PairOutputs, split: str, k: int, block: int = 1024) -> tuple[Tensor, Tensor]:
        """Return similarities and rows of the `k` best items of the corpus for each query, `[Q, k]`, best first.

        Items that the query's user has seen are excluded (with similarity -inf if too few others are left).
        """
        query, corpus = self._unit_vectors(outputs, split)
        seen = self.source.seen(split)
        best = []
        for start in range(0, len(query), block):
            scores = query[start : start + block] @ corpus.T
            for row, items in enumerate(seen[start : start + block] if seen is not None else ()):
                scores[row, items] = -torch.inf
            best.append(scores.topk(k, dim=1))
        similarities = torch.cat([part.values for part in best])
        rows = torch.cat([part.indices for part in best])
        return similarities.cpu(), rows.cpu()

    def _unit_vectors(self, outputs: PairOutputs, split: str) -> tuple[Tensor, Tensor]:
        query = nn.functional.normalize(outputs.output, dim=-1)
        corpus = nn.functional.normalize(self.encode_corpus(self.source.corpus(split)), dim=-1)
        return query, corpus.to(query.device)

    @property
    def source(self) -> Any:
        """Return the data module, which holds the corpus."""
        return self.data if self.data is not None else self.trainer.datamodule  # type: ignore[attr-defined]

    def metric_values(self, outputs: PairOutputs, split: str) -> dict[str, Tensor]:
        ranks = self.ranks(outputs, split)
        # an item that the search leaves out is behind the whole corpus
        behind_all = len(next(iter(self.source.corpus(split).values()))) + 1
        outputs.rank = (ranks.num_above + 1 + (ranks.num_tied - 1) // 2).clamp(max=behind_all)
        return retrieval_values(ranks)

    def evaluation(self, values: dict[str, Tensor]) -> Evaluation:
        return evaluate_queries(values)

    def references(
        self, data: Any, splits: Sequence[str], seed: int
    ) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
        """Rank the corpus without embeddings: at random, by popularity, by BM25."""
        for split in splits:
            for name, ranker in _rankers(data, split, data.pairs(split).num_items, seed).items():
                values = fitted(name, partial(self._reference_values, data, split, ranker))
                if values is not None:
                    yield name, split, values

    def _reference_values(self, data: Any, split: str, ranker: Callable[[], ScoreBlock]) -> dict[str, Tensor]:
        target, num_items = self.collected[split].flat_target(), data.pairs(split).num_items
        return retrieval_values(
            positive_ranks(
                ranker(), len(target), num_items, target, exclude=data.seen(split), exclude_positives=True
            )
        )

    def predictions(self, outputs: PairOutputs) -> dict[str, Any]:
        assert outputs.rank is not None
        return {"rank": outputs.rank.cpu().numpy()}

    def predict_rows(self, frame: pl.DataFrame, outputs: PairOutputs, first: int) -> pl.DataFrame:
        """Return the best items of the corpus for each query: one row per query and rank.

        A user who has seen all but a few items gets these few.
        """
        names = list(self.source.item_names(NEW))
        scores, items = self.search(outputs, NEW, min(NUM_RESULTS, len(names)))
        query, place = (scores > -torch.inf).nonzero(as_tuple=True)
        return pl.DataFrame(
            {
                "row": (query + first).numpy(),
                "rank": (place + 1).numpy(),
                "item": [names[item] for item in items[query, place].tolist()],
                "score": scores[query, place].numpy(),
            }
        )

    @torch.no_grad()
    def projection(self, data: Any, most: int) -> tuple[Tensor, list[str]]:
        """Return unit vectors of the test corpus; if larger than `most`, those of popular or evenly spaced items."""
        corpus, names, popularity = data.corpus("test"), data.item_names("test"), data.popularity("test")
        if len(names) <= most:
            rows = torch.arange(len(names))
        elif popularity is not None:
            rows = popularity.topk(most).indices
        else:
            rows = torch.linspace(0, len(names) - 1, most).long()
        self.eval()
        embeddings = self.encode_corpus({name: value[rows] for name, value in corpus.items()})
        unit = nn.functional.normalize(embeddings, dim=-1)
        return unit.cpu(), [" ".join(names[row].split()) for row in rows]


def _rankers(data: Any, split: str, num_items: int, seed: int) -> dict[str, Callable[[], ScoreBlock]]:
    """Map each reference to its fit, which returns a function for the scores of queries start … stop - 1.

    The scores are `[stop - start, num_items]`.
    """

    def random(start: int, stop: int) -> Tensor:
        return torch.rand(stop - start, num_items, generator=torch.Generator().manual_seed(seed + start))

    rankers: dict[str, Callable[[], ScoreBlock]] = {"random": lambda: random}
    popularity = data.popularity(split)
    if popularity is not None:
        rankers["popularity"] = lambda: lambda start, stop: popularity.float().expand(stop - start, -1)
    texts = data.texts(split)
    if texts is not None:

        def fit_bm25() -> ScoreBlock:
            from lit_mlfund.references.bm25 import BM25

            queries, documents = texts
            bm25 = BM25(documents)
            return lambda start, stop: torch.from_numpy(bm25.scores(queries[start:stop]))

        rankers["bm25"] = fit_bm25
    return rankers
