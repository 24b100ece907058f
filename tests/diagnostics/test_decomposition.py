"""Decompositions against analytic values, brute-force loops, and simulations with known components."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.polynomial.legendre import legvander

from lit_mlfund.diagnostics.decomposition import (
    Parts,
    cross_entropy,
    listnet,
    pairwise,
    squared_error,
    zero_one,
)

NOISE = 0.09  # variance
X, GRID = (np.arange(40) + 0.5) / 40, (np.arange(200) + 0.5) / 200


def curve(x: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * x)


def least_squares(degree: int) -> np.ndarray:
    """The matrix that maps 40 targets to the fitted polynomial on the grid."""
    return legvander(2 * GRID - 1, degree) @ np.linalg.pinv(legvander(2 * X - 1, degree))


def nearest(count: int) -> np.ndarray:
    """The matrix that maps 40 targets to the means of the nearest ones."""
    matrix = np.zeros((len(GRID), len(X)))
    index = np.abs(GRID[:, None] - X).argsort(1, kind="stable")[:, :count]
    np.put_along_axis(matrix, index, 1 / count, 1)
    return matrix


@pytest.mark.parametrize(
    ("matrix", "bias", "variance"),
    [
        (least_squares(1), 0.196005, 0.004501),
        (least_squares(3), 0.004387, 0.009027),
        (least_squares(9), 0.000000, 0.023821),
        (nearest(5), 0.006591, 0.018000),
    ],
    ids=["linear", "cubic", "degree 9", "5-NN"],
)
def test_analytic_values_lie_in_the_intervals(matrix: np.ndarray, bias: float, variance: float) -> None:
    assert ((matrix @ curve(X) - curve(GRID)) ** 2).mean() == pytest.approx(bias, abs=1e-6)
    assert NOISE * (matrix**2).sum(1).mean() == pytest.approx(variance, abs=1e-6)
    generator = np.random.default_rng(0)
    covered = {"bias": 0, "variance": 0}
    values: dict[str, list[float]] = {"bias": [], "variance": []}
    for _ in range(100):
        targets = curve(X) + NOISE**0.5 * generator.standard_normal((30, 1, 40))
        parts = squared_error(targets @ matrix.T, curve(GRID), noise=0.0)
        for name, truth in (("bias", bias), ("variance", variance)):
            part = measure(parts, name)
            covered[name] += part.low <= truth <= part.high
            values[name].append(part.value)
    assert min(covered.values()) >= 90, covered
    for name, truth in (("bias", bias), ("variance", variance)):  # finite K is corrected for
        error = np.std(values[name]) / 10
        assert np.mean(values[name]) == pytest.approx(truth, abs=3.5 * error + 1e-6), name


def measure(parts: Parts, name: str):  # type: ignore[no-untyped-def]
    part = parts[name]
    assert part is not None
    return part


def draws(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


RELEVANCE = np.random.default_rng(3).integers(0, 3, (7, 5)).astype(float)
MASK = np.arange(5) < np.array([5, 4, 3, 2, 5, 5, 1])[:, None]
CLASSES = np.random.default_rng(4).integers(0, 3, 11)
WEIGHT = np.random.default_rng(5).random(11)
LOSSES: dict[str, tuple[Callable[[int], Parts], Callable[[int], float]]] = {
    "squared error": (
        lambda starts: squared_error(draws(1, 4, starts, 11), draws(2, 11), noise=0.3, weight=WEIGHT),
        lambda starts: float(
            np.average(((draws(1, 4, starts, 11) - draws(2, 11)) ** 2).mean((0, 1)), weights=WEIGHT)
        ),
    ),
    "cross-entropy": (
        lambda starts: cross_entropy(draws(1, 4, starts, 11, 3), CLASSES),
        lambda starts: float(-np.log(chosen(softmax(draws(1, 4, starts, 11, 3)), CLASSES)).mean()),
    ),
    "binary": (
        lambda starts: cross_entropy(draws(1, 4, starts, 11), CLASSES > 0, noise=0.2),
        lambda starts: float(np.log1p(np.exp(np.where(CLASSES > 0, -1, 1) * draws(1, 4, starts, 11))).mean()),
    ),
    "listnet": (
        lambda starts: listnet(draws(1, 4, starts, 7, 5), RELEVANCE, MASK),
        lambda starts: float(
            np.mean(
                [
                    -(softmax(RELEVANCE[q, real]) * np.log(softmax(scores[real]))).sum()
                    for of_part in draws(1, 4, starts, 7, 5)
                    for replica in of_part
                    for q, (scores, real) in enumerate(zip(replica, MASK))
                ]
            )
        ),
    ),
    "pairwise": (
        lambda starts: pairwise(draws(1, 4, starts, 7, 5), RELEVANCE, MASK),
        lambda starts: float(
            np.mean([pair_loss(replica) for of_part in draws(1, 4, starts, 7, 5) for replica in of_part])
        ),
    ),
    "0/1": (
        lambda starts: zero_one(draws(1, 4, starts, 11, 3).argmax(-1), CLASSES, weight=WEIGHT),
        lambda starts: float(
            np.average(
                (draws(1, 4, starts, 11, 3).argmax(-1) != CLASSES).mean((0, 1)),
                weights=WEIGHT,
            )
        ),
    ),
    "0/1 with noise": (
        lambda starts: zero_one((draws(1, 5, starts, 11) > 0).astype(int), CLASSES > 0, noise=0.2),
        lambda starts: float(((draws(1, 5, starts, 11) > 0) != (CLASSES > 0)).mean()),
    ),
}


def softmax(scores: np.ndarray) -> np.ndarray:
    exponential = np.exp(scores)
    return exponential / exponential.sum(-1, keepdims=True)


def chosen(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    return probability[..., np.arange(len(target)), target]


def pair_loss(scores: np.ndarray) -> float:
    """The mean over queries of the mean over their pairs."""
    by_query = []
    for query, real in enumerate(MASK):
        grades, own = RELEVANCE[query, real], scores[query, real]
        pairs = [
            np.log1p(np.exp(own[j] - own[i]))
            for i in range(len(own))
            for j in range(len(own))
            if grades[i] > grades[j]
        ]
        by_query += [np.mean(pairs)] if pairs else []
    return float(np.mean(by_query))


@pytest.mark.parametrize("starts", [1, 2, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_parts_sum_to_the_total(loss: str, starts: int) -> None:
    split, total = LOSSES[loss]
    parts = split(starts)
    assert measure(parts, "total").value == pytest.approx(total(starts), rel=1e-12)
    both = measure(parts, "noise_and_bias").value
    assert both + measure(parts, "variance").value == pytest.approx(total(starts), abs=1e-9)
    if measure(parts, "noise").value == measure(parts, "noise").value:
        assert measure(parts, "noise").value + measure(parts, "bias").value == pytest.approx(both, abs=1e-9)
    else:
        assert measure(parts, "noise").low == 0 <= both <= measure(parts, "noise").high
    if starts == 1:
        assert parts["variance_data"] is None and parts["variance_initialisation"] is None
    else:
        by_cause = [measure(parts, f"variance_{cause}").value for cause in ("data", "initialisation")]
        assert sum(by_cause) == pytest.approx(measure(parts, "variance").value, abs=1e-9)


def test_known_noise_is_reported() -> None:
    assert measure(LOSSES["squared error"][0](2), "noise").value == 0.3
    entropy = [-(p * np.log(p)).sum() for p in (softmax(row[real]) for row, real in zip(RELEVANCE, MASK))]
    assert measure(LOSSES["listnet"][0](2), "noise").value == pytest.approx(np.mean(entropy), rel=1e-12)


def test_the_central_model_of_cross_entropy_is_the_geometric_mean() -> None:
    logits = draws(6, 400, 1, 2, 3) * 0.7 + draws(7, 2, 3)
    geometric = np.exp(np.log(softmax(logits)).mean((0, 1)))
    normalised = geometric / geometric.sum(-1, keepdims=True)
    target = np.array([0, 2])
    variance = -np.log(geometric.sum(-1)).mean()
    parts = cross_entropy(logits, target)
    assert measure(parts, "variance").value == pytest.approx(
        variance, rel=0.02
    )  # K = 400: nearly no correction
    assert measure(parts, "noise_and_bias").value == pytest.approx(
        -np.log(chosen(normalised, target)).mean(), rel=0.01
    )
    few = [
        measure(cross_entropy(logits[start : start + 4], target), "variance").value
        for start in range(0, 400, 4)
    ]
    assert np.mean(few) == pytest.approx(variance, abs=3.5 * np.std(few) / 10)
    plain = [
        -np.log(np.exp(np.log(softmax(part)).mean((0, 1))).sum(-1)).mean()
        for part in logits.reshape(100, 4, 1, 2, 3)
    ]
    assert np.mean(plain) < 0.85 * variance  # what four replicas tell without the correction


def test_initialisation_is_told_from_data() -> None:
    by_part, by_start = draws(8, 200, 1, 20), 0.5 * draws(9, 200, 2, 20)
    parts = squared_error(by_part + by_start, np.zeros(20), noise=0.0)
    assert measure(parts, "variance_data").value == pytest.approx(1, abs=0.06)
    assert measure(parts, "variance_initialisation").value == pytest.approx(0.25, abs=0.02)
    for name, truth in (("variance_data", 1), ("variance_initialisation", 0.25), ("variance", 1.25)):
        assert measure(parts, name).low < truth < measure(parts, name).high
    same = zero_one((by_part + 0 * by_start > 0.3).astype(int), np.zeros(20))
    assert measure(same, "variance_initialisation").value == 0 < measure(same, "variance_data").value


def test_variance_of_the_0_1_loss_has_signs() -> None:
    """Row 0: the main prediction is right, one of five differs. Row 1: it is wrong, and one is right. Row 2: one errs
    otherwise than the main prediction, which is wrong too: that neither helps nor harms."""
    labels = np.array([[0, 0, 0, 0, 1], [1, 1, 1, 1, 0], [1, 1, 1, 1, 2]]).T[:, None]
    parts = zero_one(labels, np.array([0, 0, 0]))
    assert measure(parts, "noise_and_bias").value == pytest.approx(2 / 3)
    assert measure(parts, "variance_unbiased").value == pytest.approx(0.2 / 3)
    assert measure(parts, "variance_biased").value == pytest.approx(0.2 / 3)
    assert measure(parts, "variance").value == pytest.approx(0)
    assert measure(parts, "total").value == pytest.approx((0.2 + 0.8 + 1) / 3)


def test_a_replica_does_not_vote_for_what_it_is_held_against() -> None:
    """Of coin flips half disagree with the main prediction; with its own vote among three, only a quarter would."""
    labels = np.random.default_rng(1).integers(0, 2, (3, 1, 20_000))
    parts = zero_one(labels, np.zeros(20_000, dtype=int))
    disagreement = measure(parts, "variance_unbiased").value + measure(parts, "variance_biased").value
    assert disagreement == pytest.approx(0.5, abs=0.02)


def test_flipped_labels_are_taken_out_of_bias_and_variance() -> None:
    generator = np.random.default_rng(2)
    clean = generator.integers(0, 2, 40_000)
    easy = generator.random(40_000) < 0.7  # rows that most replicas get right
    right = generator.random((9, 1, 40_000)) < np.where(easy, 0.9, 0.2)
    labels = np.where(right, clean, 1 - clean)
    noisy = np.where(generator.random(40_000) < 0.15, 1 - clean, clean)
    truth, told = zero_one(labels, clean, noise=0.0), zero_one(labels, noisy, noise=0.15)
    for name in ("bias", "variance", "variance_unbiased", "variance_biased"):
        assert measure(told, name).value == pytest.approx(measure(truth, name).value, abs=0.01), name
    # c1 = 2 P(a replica predicts the clean label) - 1
    assert measure(told, "noise").value == pytest.approx(0.15 * (2 * right.mean() - 1), abs=0.01)


def test_wrong_input_is_told() -> None:
    with pytest.raises(ValueError, match="at least two parts"):
        squared_error(np.zeros((1, 2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="no query has two documents of different relevance"):
        pairwise(np.zeros((2, 1, 2, 3)), np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"below 0.5, of two classes"):
        zero_one(np.array([[[0]], [[2]]]), np.array([0]), noise=0.1)
