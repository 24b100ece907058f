"""Fits next-token references for texts: unigram frequencies, and n-grams with Witten–Bell smoothing."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lit_mlfund.references.fitting import fitted

Ids = NDArray[np.integer]
_BLOCK = 1 << 22  # probabilities in memory at a time
_MAX_TRAIN = 5_000_000  # only the last tokens are counted: counting takes about 100 bytes for each


class NGrams:
    """Counts all n-grams of a text up to `order` and interpolates from the shortest context to the longest.

    p(w | h) = (c(hw) + d(h) p(w | h')) / (c(h) + d(h)), where c counts, d(h) is the number of distinct tokens seen
    after h, and h' is h without its first token; the unigrams back off to 1 / K. Contexts that training never saw
    are skipped. Source: Witten & Bell 1991; Chen & Goodman 1999, §2.6.
    """

    def __init__(self, train: Ids, num_classes: int, order: int = 6) -> None:
        """Count the end of `train [N]`, ids 0 … num_classes − 1; an n-gram of `order` 1 has no context."""
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        train = train[-_MAX_TRAIN:].astype(np.int64)
        self.num_classes = num_classes
        self.order = order
        self._contexts: list[
            Ids
        ] = []  # for each length, (shorter context, token) pairs encoded as one number
        self._counts: list[sp.csr_matrix] = []
        context: Ids = np.zeros(len(train), dtype=np.int64)
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
        """Extend the context at each position by one token; -1 at the beginning of the text, or if unseen."""
        pairs = np.full(len(tokens), -1, dtype=np.int64)
        known = context[:-1] >= 0
        pairs[1:][known] = context[:-1][known] * self.num_classes + tokens[:-1][known]
        return pairs

    def predict(self, tokens: Ids) -> tuple[NDArray[np.float32], Ids]:
        """Return the log-probability of each token given those before it, and the most probable one, `[N]` each."""
        size = max(1, _BLOCK // self.num_classes)
        parts = []
        for start in range(0, len(tokens), size):
            before = min(start, self.order - 1)  # the context of the first token
            piece = tokens[start - before : start + size].astype(np.int64)
            parts.append([values[before:] for values in self._predict(piece)])
        return np.concatenate([log for log, _ in parts]), np.concatenate([best for _, best in parts])

    def _predict(self, tokens: Ids) -> tuple[NDArray[np.float32], Ids]:
        probability = np.full((len(tokens), self.num_classes), 1 / self.num_classes)
        context: Ids = np.zeros(len(tokens), dtype=np.int64)
        for length, counts in enumerate(self._counts):
            if length > 0:
                context = _find(self._pairs(context, tokens), self._contexts[length - 1])
            seen = np.flatnonzero(context >= 0)
            rows = counts[context[seen]]
            different = np.diff(rows.indptr)[:, None]
            mixed = rows.toarray() + different * probability[seen]
            probability[seen] = mixed / (rows.sum(1).reshape(-1, 1) + different)
        chosen = probability[np.arange(len(tokens)), tokens]
        return np.log(chosen).astype(np.float32), probability.argmax(1)


def _find(values: Ids, known: Ids) -> Ids:
    """Return the index of each value in the sorted `known`, -1 where it is missing."""
    if not len(known):
        return np.full(len(values), -1, dtype=np.int64)
    index = np.searchsorted(known, values).clip(max=len(known) - 1)
    return np.where(known[index] == values, index, -1)


def token_references(
    train: Ids, tokens: Ids, num_classes: int, order: int = 6
) -> dict[str, tuple[NDArray[np.float32], Ids]]:
    """Map references to log-probability and prediction `[N]` of each token: `unigram`, and n-grams up to `order`.

    Unigram frequencies are those of training, with one added to each count so that none is zero.
    """
    share = np.bincount(train, minlength=num_classes) + 1.0
    log_share = np.log(share / share.sum()).astype(np.float32)
    constant = np.full(len(tokens), share.argmax(), dtype=np.int64)
    references: dict[str, tuple[NDArray[np.float32], Ids]] = {"unigram": (log_share[tokens], constant)}
    name = f"{order}-gram"
    if (predicted := fitted(name, lambda: NGrams(train, num_classes, order).predict(tokens))) is not None:
        references[name] = predicted
    return references
