"""Implements BM25, the lexical reference that a retrieval model has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lit_mlfund.data.preprocessing.tokenize import Words, split_words


class BM25:
    """Scores documents by Okapi BM25, with Lucene's idf `log(1 + (N − df + ½) / (df + ½))`, never negative.

    `k1` controls how soon the term frequency saturates, `b` how strongly long documents are penalized. Words are
    those of `split_words`: lower case, identifiers split. Robertson and Zaragoza 2009, "The Probabilistic
    Relevance Framework: BM25 and Beyond", eq. 3.15.

    >>> BM25(["open a file", "close the socket"]).scores(["which socket"]).argmax()
    1
    """

    def __init__(self, documents: Sequence[str], *, k1: float = 1.5, b: float = 0.75) -> None:
        if not documents:
            raise ValueError("BM25 needs at least one document")
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"BM25 needs k1 >= 0 and 0 <= b <= 1, got k1={k1}, b={b}")
        words = split_words(documents)
        self.vocabulary = np.unique(words.hash)
        counts = self._counts(words, len(documents)).tocoo()  # csr_array sums the repetitions of a word
        length = np.bincount(counts.row, weights=counts.data, minlength=len(documents))
        frequency = np.bincount(counts.col, minlength=len(self.vocabulary))
        idf = np.log1p((len(documents) - frequency + 0.5) / (frequency + 0.5))
        brevity = k1 * (1 - b + b * length / max(length.mean(), 1e-9))
        weight = counts.data * (k1 + 1) / (counts.data + brevity[counts.row]) * idf[counts.col]
        self._weights = sparse.csc_array((weight, (counts.row, counts.col)), shape=counts.shape).T

    def scores(self, queries: Sequence[str]) -> NDArray[np.float64]:
        """Score Q queries against N documents, `[Q, N]`; a word counts as often as it occurs in the query."""
        return (self._counts(split_words(queries), len(queries)) @ self._weights).toarray()

    def _counts(self, words: Words, num_texts: int) -> sparse.csr_array:
        """Count each word of the vocabulary in each text, `[num_texts, words]`."""
        known = np.isin(words.hash, self.vocabulary)
        column = np.searchsorted(self.vocabulary, words.hash[known])
        shape = (num_texts, len(self.vocabulary))
        return sparse.csr_array((np.ones(len(column)), (words.text[known], column)), shape=shape)
