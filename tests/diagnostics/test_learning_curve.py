"""The forecast of what twice the rows bring: on exact curves, and its intervals on noisy ones."""

from __future__ import annotations

import numpy as np
import pytest

from lit_mlfund.diagnostics.evidence import Evidence, LearningCurve, Measure
from lit_mlfund.diagnostics.learning_curve import EXPONENTS, fit_curve, forecast, learning_curve

SIZES = [1000, 125, 125, 250, 250, 500, 500]


@pytest.mark.parametrize("exponent", [EXPONENTS[4], EXPONENTS[15], EXPONENTS[27]])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_an_exact_power_law_is_found(offset: float, exponent: float) -> None:
    losses = [offset + 5 * rows**-exponent for rows in SIZES]
    assert fit_curve(SIZES, losses) == pytest.approx((offset, 5, exponent), rel=1e-6, abs=1e-6)
    gain, limit = forecast(SIZES, losses, np.array([losses]))
    assert gain.value == pytest.approx(5 * (1000**-exponent - 2000**-exponent), rel=1e-6)
    assert limit == pytest.approx(offset, abs=1e-6)


def test_no_loss_is_negative() -> None:
    offset, slope, exponent = fit_curve([100, 200, 400], [0.9, 0.5, 0.05])  # falls to -0.4 as a straight line
    assert offset == 0
    assert slope * 800**-exponent > 0


@pytest.mark.parametrize(
    ("offset", "slope", "exponent", "training", "least"),
    [(0.1, 2, 0.5, 0.1, 90), (0.3, 5, 1, 0.02, 90), (0.2, 0, 1, 0.2, 90), (0, 1, 0.3, 0.3, 80)],
    ids=["square root", "fast", "flat", "slow and noisy"],
)
def test_intervals_hold_the_true_gain(
    offset: float, slope: float, exponent: float, training: float, least: int
) -> None:
    generator = np.random.default_rng(0)
    curve = np.array([offset + slope * rows**-exponent for rows in SIZES])
    truth = slope * (1000**-exponent - 2000**-exponent)
    held = 0
    for repeat in range(100):
        by_row = 0.01 * generator.standard_normal() + 0.003 * generator.standard_normal(7)
        losses = curve + by_row + training * np.array(SIZES) ** -0.5 * generator.standard_normal(7)
        spread = 0.01 * generator.standard_normal((60, 1)) + 0.003 * generator.standard_normal((60, 7))
        gain, _ = forecast(SIZES, list(losses.clip(0)), (losses + spread).clip(0), seed=repeat)
        held += gain.low <= truth <= gain.high
    assert held >= least


def test_a_loss_that_rises_with_the_rows_gains_nothing() -> None:
    gain, limit = forecast([400, 50, 100, 200], [0.5, 0.2, 0.3, 0.4], np.array([[0.5, 0.2, 0.3, 0.4]]))
    assert gain.value == 0 and limit == pytest.approx(320 / 750)  # the mean, weighted by rows


def test_two_sizes_make_no_curve() -> None:
    with pytest.raises(ValueError, match=r"a curve needs 3 numbers of rows, got \[50, 100\]"):
        forecast([100, 50, 50], [0.1, 0.2, 0.2], np.zeros((1, 3)))


@pytest.mark.parametrize(("direction", "better"), [("max", "0.85"), ("min", "0.75")])
def test_the_finding_says_where_the_metric_would_be(direction: str, better: str) -> None:
    curve = LearningCurve("some", [400, 50, 100, 200], [0.8, 0.5, 0.6, 0.7], Measure(0.05, 0.01, 0.09), 0.9)
    evidence = Evidence(
        task="binary",
        monitor="some",
        directions={"some": direction},
        splits={"test": {"some": Measure(0.8, 0.7, 0.9)}},
        learning_curve=curve,
    )
    [finding] = learning_curve(Evidence.from_dict(evidence.to_dict()))
    assert (finding.name, finding.severity) == ("learning_curve", "info")
    assert f"Twice the 400 training rows would bring test/some from 0.8 to about {better}" in finding.symptom
    assert "0.05 (0.01 … 0.09)" in finding.symptom
    assert learning_curve(Evidence(task="binary", monitor="some")) == []
