"""BM25 against the formula, word by word."""

import math
import random
import re

import numpy as np
import pytest

from lit_mlfund.references.bm25 import BM25


def plain_bm25(documents, queries, k1, b):
    documents = [re.findall(r"[a-z]+", text.lower()) for text in documents]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for query in queries:
        row = []
        for document in documents:
            total = 0.0
            for word in re.findall(r"[a-z]+", query.lower()):
                df = sum(word in other for other in documents)
                idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
                tf = document.count(word)
                if tf:
                    total += idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(document) / mean))
            row.append(total)
        scores.append(row)
    return np.array(scores)


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.0), (0.0, 1.0)])
def test_scores_equal_the_formula(k1, b):
    random.seed(3)
    words = ["Red", "green", "BLUE", "x", "y", "z"]
    texts = [" ".join(random.choices(words, k=random.randrange(12))) for _ in range(30)]
    documents, queries = [*texts[:20], "red red RED"], [*texts[20:], "red unseen red", ""]
    expected = plain_bm25(documents, queries, k1, b)
    np.testing.assert_allclose(BM25(documents, k1=k1, b=b).scores(queries), expected, rtol=1e-12, atol=1e-12)


def test_documents_without_words_score_nothing():
    assert BM25(["", "!"]).scores(["a word", ""]).tolist() == [[0, 0], [0, 0]]


def test_an_empty_corpus_and_impossible_constants_are_refused():
    with pytest.raises(ValueError, match="at least one document"):
        BM25([])
    with pytest.raises(ValueError, match="b=2"):
        BM25(["a"], b=2)
