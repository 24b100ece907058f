from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from lit_mlfund.metrics import calibration_error, calibration_null, reliability_curve


def rows(num_rows: int, seed: int = 0, power: float = 1.0):
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(num_rows, generator=generator, dtype=torch.float64) ** power
    return probability, torch.bernoulli(probability, generator=generator)


def brute_force(probability, target, bins, weight) -> float:
    """|share of yes - mean probability| of each bin, weighted by its share, row by row."""
    error = 0.0
    for name in set(bins):
        inside = [i for i, value in enumerate(bins) if value == name]
        error += abs(sum(weight[i] * (target[i] - probability[i]) for i in inside))
    return error / sum(weight)


@pytest.mark.parametrize("num_bins", [1, 4, 15])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_width_bins(num_bins, dtype):
    probability, target = rows(300)
    probability = torch.cat([probability, torch.tensor([0.0, 1.0, 1.0])]).to(dtype)
    target = torch.cat([target, torch.tensor([1.0, 0.0, 1.0])])
    bins = [min(int(p * num_bins), num_bins - 1) for p in probability.tolist()]
    want = brute_force(probability.tolist(), target.tolist(), bins, [1.0] * 303)
    assert calibration_error(probability, target, num_bins).item() == pytest.approx(want)
    theirs = binary_calibration_error(probability, target.long(), n_bins=num_bins)
    assert theirs.item() == pytest.approx(want, rel=1e-5)


def test_mass_bins_hold_as_many_rows_each_and_keep_equals_together():
    probability, target = rows(30)
    order = probability.argsort()
    bins = np.empty(30, dtype=int)
    bins[order.numpy()] = np.repeat(np.arange(5), 6)
    want = brute_force(probability.tolist(), target.tolist(), bins.tolist(), [1.0] * 30)
    assert calibration_error(probability, target, 5, "mass").item() == pytest.approx(want)
    assert reliability_curve(probability, target, 5, "mass").weight.tolist() == [6] * 5
    tied = (probability * 4).round() / 4
    shuffle = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    values = [calibration_error(tied[i], target[i], 15, "mass").item() for i in (torch.arange(30), shuffle)]
    want = brute_force(tied.tolist(), target.tolist(), tied.tolist(), [1.0] * 30)  # five values, a bin each
    assert values == pytest.approx([want, want])


def test_equals_share_the_bin_of_their_middle():
    probability = torch.tensor([0.1] + [0.9] * 9)
    assert reliability_curve(probability, torch.ones(10), 2, "mass").weight.tolist() == [1, 9]


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_a_weight_of_three_is_three_rows(binning):
    probability, target = rows(50)
    weight = torch.randint(1, 4, (50,), generator=torch.Generator().manual_seed(2))
    repeated = [value.repeat_interleave(weight) for value in (probability, target)]
    want = calibration_error(*repeated, 8, binning)
    torch.testing.assert_close(calibration_error(probability, target, 8, binning, weight), want)


def test_the_top_class_of_several():
    generator = torch.Generator().manual_seed(3)
    probability = torch.randn(400, 5, generator=generator).softmax(1)
    target = torch.randint(5, (400,), generator=generator)
    theirs = multiclass_calibration_error(probability, target, 5, n_bins=15)
    assert calibration_error(probability, target).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_reliability_curve():
    probability, target = rows(500, power=3)
    curve = reliability_curve(probability, target, 10)
    frequency, mean = calibration_curve(target, probability, n_bins=10)
    np.testing.assert_allclose(curve.frequency, frequency)
    np.testing.assert_allclose(curve.probability, mean)
    assert curve.weight.sum() == 500
    half = reliability_curve(probability / 2, target, 10)
    assert len(half.weight) == 5  # bins without rows are left out


def mean_error_by_enumeration(probability: list[float], num_bins: int) -> float:
    """The mean of the calibration error over all 2^B outcomes, each with its probability."""
    mean = 0.0
    for outcome in itertools.product([0, 1], repeat=len(probability)):
        chance = np.prod([p if yes else 1 - p for p, yes in zip(probability, outcome)])
        mean += chance * calibration_error(
            torch.tensor(probability, dtype=torch.float64), torch.tensor(outcome), num_bins
        )
    return float(mean)


@pytest.mark.parametrize("probability", [[0.3], [0.37] * 7, [0.97] * 6, [0.1] * 3 + [0.5] * 2 + [0.9] * 3])
def test_null_is_exact_where_the_rows_of_a_bin_are_equal(probability):
    want = mean_error_by_enumeration(probability, 5)
    null = calibration_null(torch.tensor(probability, dtype=torch.float64), 5)
    assert null.item() == pytest.approx(want)


@pytest.mark.parametrize(("num_rows", "power"), [(40, 1), (300, 1), (300, 8), (300, 0.1), (3000, 2)])
@pytest.mark.parametrize("binning", ["width", "mass"])
def test_null_agrees_with_simulation(num_rows, power, binning):
    probability, _ = rows(num_rows, seed=4, power=power)
    generator = torch.Generator().manual_seed(5)
    drawn = torch.stack(
        [
            calibration_error(probability, torch.bernoulli(probability, generator=generator), 15, binning)
            for _ in range(400)
        ]
    )
    error = 4 * float(drawn.std()) / 20
    assert calibration_null(probability, 15, binning).item() == pytest.approx(
        drawn.mean().item(), rel=0.03, abs=error
    )
    high = calibration_null(probability, 15, binning, quantile=0.95)
    assert float((drawn > high).double().mean()) == pytest.approx(0.05, abs=0.04)


def test_null_of_weighted_rows():
    probability, _ = rows(500, seed=6)
    weight = torch.rand(500, generator=torch.Generator().manual_seed(7)) * 5
    generator = torch.Generator().manual_seed(8)
    drawn = [
        calibration_error(
            probability, torch.bernoulli(probability, generator=generator), weight=weight
        ).item()
        for _ in range(300)
    ]
    assert calibration_null(probability, weight=weight).item() == pytest.approx(np.mean(drawn), rel=0.05)


def test_null_at_the_ends():
    assert calibration_null(torch.tensor([0.0, 1.0, 1.0])) == 0
    nearly_one = 1 - torch.finfo(torch.float64).eps / 2 * (torch.arange(18) % 2).double()
    assert 0 <= calibration_null(torch.cat([nearly_one, torch.zeros(19)]), 1) < 1e-7
    for tiny in (1e-15, 1e-9, 1e-5):
        for probability in (torch.full((50,), tiny).double(), 1 - torch.full((50,), tiny).double()):
            want = 2 * tiny * (1 - tiny) ** 50  # de Moivre with a mean below one
            assert calibration_null(probability).item() == pytest.approx(want, rel=2e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(probability=torch.tensor([0.1, 1.5, torch.nan])), r"probability: 2 of 3 are not in \[0, 1\]"),
        (dict(probability=torch.zeros(0), target=torch.zeros(0)), "probability must be"),
        (dict(probability=torch.zeros(3, 2, 2)), "probability must be"),
        (dict(target=torch.tensor([0, 1])), r"target must be \[B\] = \(3,\), got \(2,\)"),
        (dict(target=torch.tensor([0, 2, 1])), "target must be 0 or 1: 1 are not, such as 2"),
        (dict(num_bins=0), "num_bins must be a whole number of at least 1, got 0"),
        (dict(binning="size"), "binning must be"),
        (dict(weight=torch.ones(2)), r"weight must be \[B\]"),
        (dict(weight=torch.tensor([1.0, -1.0, 1.0])), "weight must be finite"),
        (dict(weight=torch.zeros(3)), "weight must be finite"),
    ],
)
def test_bad_input(change, message):
    arguments = dict(probability=torch.tensor([0.1, 0.5, 0.9]), target=torch.tensor([0, 1, 1])) | change
    with pytest.raises(ValueError, match=message):
        calibration_error(**arguments)


def test_bad_quantile():
    with pytest.raises(ValueError, match="quantile must be between 0 and 1"):
        calibration_null(torch.rand(3), quantile=1)
