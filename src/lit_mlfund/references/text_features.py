"""Computes TF-IDF of the words, pairs of words and character n-grams of texts, for a linear reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import scipy.sparse as sp

from lit_mlfund.data.preprocessing.tokenize import Tokenizer

MAX_FEATURES = 2**16  # those that occur in most training texts
MIN_TEXTS = 2  # in which a feature has to occur
BLOCK = 4096  # texts at a time: bounds the memory of intermediate arrays
TOKENIZER = Tokenizer("ngrams", vocab_size=2**20, char_ngrams=(2, 5))  # hashed: the texts need no vocabulary


class TextWeights:
    """Computes TF-IDF of words, pairs of neighbours and the 2- to 5-grams of characters within words, of whole texts.

    It is (1 + log count) · idf in rows of length 1, with idf = 1 + log((1 + N) / (1 + number of texts with the
    feature)), as by scikit-learn's `TfidfVectorizer(sublinear_tf=True)` of the analyzers `word` and `char_wb`.
    """

    def fit(self, texts: Sequence[str]) -> Self:
        """Choose the features of training texts and their idf; return self."""
        present = np.zeros(TOKENIZER.vocab_size, dtype=np.int64)
        for counts in _counts(texts):
            present += np.bincount(counts.indices, minlength=len(present))
        frequent = np.argsort(-present, kind="stable")[:MAX_FEATURES]
        self.features = np.sort(frequent[present[frequent] >= min(MIN_TEXTS, present.max())])
        self.idf = (np.log((1 + len(texts)) / (1 + present[self.features])) + 1).astype(np.float32)
        return self

    def transform(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Return the weights `[N, features]` of texts."""
        blocks = []
        for counts in _counts(texts):
            counts = counts[:, self.features]
            counts.data = 1 + np.log(counts.data)
            blocks.append(unit_rows(counts @ sp.diags(self.idf)))
        return sp.vstack(blocks, format="csr")


def unit_rows(weights: sp.csr_matrix) -> sp.csr_matrix:
    """Divide each row by its length; an empty row stays empty."""
    norm = np.sqrt(np.asarray(weights.multiply(weights).sum(1)).ravel())
    return sp.diags(1 / np.maximum(norm, 1e-12)) @ weights


def _counts(texts: Sequence[str]) -> Iterator[sp.csr_matrix]:
    """Yield how often each hashed feature occurs in each text, for one block of texts after another."""
    for start in range(0, max(len(texts), 1), BLOCK):
        part = texts[start : start + BLOCK]
        ids, length = TOKENIZER.ragged(part)
        ends = np.append(0, np.cumsum(length))
        shape = (len(part), TOKENIZER.vocab_size)
        counts = sp.csr_matrix((np.ones(len(ids), dtype=np.float32), ids, ends), shape=shape)
        counts.sum_duplicates()
        yield counts
