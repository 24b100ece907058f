"""Next-token references for texts: unigram frequencies, and n-grams with Witten–Bell smoothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Ids = NDArray[np.int64]
_BLOCK = 1 << 22  # probabilities held at a time


class NGrams:
    """Counts of all n-grams up to `order` of a text, interpolated from the shortest context to the longest.

    p(w | h) = (c(hw) + d(h) p(w | h')) / (c(h) + d(h)), where c counts, d(h) is how many different tokens were
    seen behind h, and h' is h without its first token; below the unigrams lies 1 / K. Contexts that training
    never saw are left out. Source: Witten & Bell 1991; Chen & Goodman 1999, §2.6.
    """

    def __init__(self, train: Ids, num_classes: int, order: int = 6) -> None:
        """Count `train [N]`, ids 0 … num_classes − 1; an n-gram of `order` 1 has no context."""
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.num_classes = num_classes
        self.order = order
        self._contexts: list[Ids] = []  # of each length, its (shorter context, token) pairs as one number
        self._counts: list[sp.csr_matrix] = []
        context = np.zeros(len(train), dtype=np.int64)
        for length in range(order):
            if length > 0:
                pairs = self._pairs(context, train)
                self._contexts.append(np.unique(pairs[pairs >= 0]))
                context = _find(pairs, self._contexts[-1])
            seen = context >= 0
            shape = (max(1, int(context.max(initial=0)) + 1), num_classes)
            self._counts.append(
                sp.csr_matrix((np.ones(seen.sum()), (context[seen], train[seen])), shape=shape)
            )

    def _pairs(self, context: Ids, tokens: Ids) -> Ids:
        """The context that is one token longer, at each position: -1 where the text begins, or unseen."""
        pairs = np.full(len(tokens), -1, dtype=np.int64)
        known = context[:-1] >= 0
        pairs[1:][known] = context[:-1][known] * self.num_classes + tokens[:-1][known]
        return pairs

    def predict(self, tokens: Ids) -> tuple[NDArray[np.float32], Ids]:
        """Log-probability of each token of a text after those before it, and the most probable one, `[N]` each."""
        contexts = [np.zeros(len(tokens), dtype=np.int64)]
        for known in self._contexts:
            contexts.append(_find(self._pairs(contexts[-1], tokens), known))
        parts = list(self._blocks(contexts, tokens))
        return np.concatenate([log for log, _ in parts]), np.concatenate([best for _, best in parts])

    def _blocks(self, contexts: list[Ids], tokens: Ids) -> Iterator[tuple[NDArray[np.float32], Ids]]:
        size = max(1, _BLOCK // self.num_classes)
        for start in range(0, len(tokens), size):
            own = tokens[start : start + size]
            probability = np.full((len(own), self.num_classes), 1 / self.num_classes)
            for counts, context in zip(self._counts, contexts):
                at = context[start : start + size]
                seen = np.flatnonzero(at >= 0)
                rows = counts[at[seen]]
                different = np.diff(rows.indptr)[:, None]
                total = np.asarray(rows.sum(1))
                mixed = rows.toarray() + different * probability[seen]
                probability[seen] = mixed / (total + different)
            chosen = probability[np.arange(len(own)), own]
            yield np.log(chosen).astype(np.float32), probability.argmax(1)


def _find(values: Ids, known: Ids) -> Ids:
    """Place of each value in the sorted `known`, -1 where it is not."""
    if not len(known):
        return np.full(len(values), -1, dtype=np.int64)
    place = np.searchsorted(known, values).clip(max=len(known) - 1)
    return np.where(known[place] == values, place, -1)


def token_references(
    train: Ids, tokens: Ids, num_classes: int, order: int = 6
) -> dict[str, tuple[NDArray[np.float32], Ids]]:
    """Reference -> log-probability and prediction `[N]` of each token: `unigram`, and n-grams up to `order`.

    Unigram frequencies are those of training, with one added to each so that none is zero.
    """
    share = np.bincount(train, minlength=num_classes) + 1.0
    log_share = np.log(share / share.sum()).astype(np.float32)
    constant = np.full(len(tokens), share.argmax(), dtype=np.int64)
    return {
        "unigram": (log_share[tokens], constant),
        f"{order}-gram": NGrams(train, num_classes, order).predict(tokens),
    }
