"""n-gram references against a loop that counts with dictionaries."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from lit_mlfund.references import ngrams
from lit_mlfund.references.ngrams import NGrams, token_references

K = 5


def draw(size: int, seed: int, low: int = 0) -> np.ndarray:
    """A text in which the next token depends on the last two."""
    generator = np.random.default_rng(seed)
    table = generator.dirichlet(np.full(K - low, 0.3), (K, K))
    text = [low, low]
    for _ in range(size - 2):
        text.append(low + int(generator.choice(K - low, p=table[text[-2], text[-1]])))
    return np.array(text)


def brute_force(train: list[int], text: list[int], order: int) -> np.ndarray:
    counts: dict[tuple[int, ...], Counter] = defaultdict(Counter)
    for end in range(len(train)):
        for length in range(min(order, end + 1)):
            counts[tuple(train[end - length : end])][train[end]] += 1

    def distribution(context: tuple[int, ...]) -> np.ndarray:
        below = distribution(context[1:]) if context else np.full(K, 1 / K)
        seen = counts.get(context)
        if not seen:
            return below
        found = np.array([seen[token] for token in range(K)])
        return (found + len(seen) * below) / (found.sum() + len(seen))

    return np.array([distribution(tuple(text[max(0, end - order + 1) : end])) for end in range(len(text))])


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("block", [7 * K, 1000 * K])  # in many pieces, and in one
@pytest.mark.parametrize("low", [0, 1])  # with 1, the text to predict has a token that training never saw
def test_equals_counting_with_dictionaries(
    monkeypatch: pytest.MonkeyPatch, order: int, low: int, block: int
) -> None:
    monkeypatch.setattr(ngrams, "_BLOCK", block)
    train, text = draw(300, 0, low), draw(80, 1)
    expected = brute_force(train.tolist(), text.tolist(), order)
    log_probability, prediction = NGrams(train.astype(np.uint8), K, order).predict(text.astype(np.uint8))
    np.testing.assert_allclose(log_probability, np.log(expected[np.arange(80), text]), rtol=1e-5)
    np.testing.assert_array_equal(prediction, expected.argmax(1))
    np.testing.assert_allclose(expected.sum(1), 1)


def test_references_by_name() -> None:
    train, text = draw(400, 0), draw(90, 1)
    references = token_references(train, text, K)
    assert list(references) == ["unigram", "6-gram"]
    share = (np.bincount(train, minlength=K) + 1) / (len(train) + K)
    np.testing.assert_allclose(references["unigram"][0], np.log(share[text]), rtol=1e-5)
    assert (references["unigram"][1] == share.argmax()).all()
    with pytest.raises(ValueError, match="order must be at least 1"):
        NGrams(train, K, 0)
