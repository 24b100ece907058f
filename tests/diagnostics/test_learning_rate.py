"""The range test's reading of known curves."""

from __future__ import annotations

import numpy as np
import pytest

from lit_mlfund.diagnostics.learning_rate import recommend, smooth

RATES = (1e-7 * 1e8 ** (np.arange(240) / 239)).tolist()


def curve(lowest: float, noise: float = 0.0, depth: float = 1.0) -> list[float]:
    """Falls from 2 by `depth` over a decade and a half to its lowest at `lowest`, then blows up."""
    decades = np.log10(np.array(RATES) / lowest)
    fall = depth * np.clip((decades + 1.5) / 1.5, 0, 1)
    rise = np.where(decades > 0, np.expm1(np.clip(decades, 0, 2) * 6), 0.0)
    return (2 - fall + rise + noise * np.random.default_rng(0).normal(size=240)).tolist()


@pytest.mark.parametrize("lowest", [1e-4, 1e-2, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_tenth_of_the_rate_of_the_lowest_loss(lowest: float, noise: float) -> None:
    found = recommend(RATES, curve(lowest, noise))
    assert lowest / 30 < found.lr < lowest / 7
    assert found.steepest_at < found.lowest_at
    assert f"a tenth of {found.lowest_at:.1e}" in found.reason
    assert float(f"{found.lr:.1e}") == found.lr
    assert len(found.smoothed) == 240


def test_an_explosion_does_not_colour_its_neighbours() -> None:
    losses = curve(1e-2)
    with_end = [*losses[:165], 1e30, float("inf"), float("nan")]
    assert recommend(RATES[:168], with_end).lr == pytest.approx(
        recommend(RATES[:168], losses[:168]).lr, rel=0.2
    )


def test_still_falling_at_the_end() -> None:
    found = recommend(RATES, np.linspace(2, 1, 240).tolist())
    assert found.lr == 1.0
    assert found.reason.endswith("still falling at the highest rate tried")


def test_it_only_rises() -> None:
    noise = 0.01 * np.random.default_rng(1).normal(size=240)
    losses = (1 + noise + np.where(np.arange(240) > 180, 2.0, 0.0)).tolist()
    found = recommend(RATES, losses)
    assert found.lr == pytest.approx(RATES[180] / 10, rel=1.0)
    assert "did not fall at any rate" in found.reason


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([1.0] * 240, "neither fell nor rose"),
        ((1 + 0.1 * np.random.default_rng(2).normal(size=240)).tolist(), "neither fell nor rose"),
        ([float("nan")] * 240, "not finite at the lowest rate"),
        ([1.0] * 10, "needs 20 steps"),
    ],
)
def test_nothing_to_recommend(losses: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recommend(RATES[: len(losses)], losses)


def test_smoothing_keeps_what_is_straight() -> None:
    assert smooth(np.full(50, 3.0)) == pytest.approx(np.full(50, 3.0))
    line = smooth(np.arange(100.0))
    assert line[30:70] == pytest.approx(np.arange(30.0, 70.0))
    noise = np.random.default_rng(0).normal(size=4000)
    assert smooth(noise, 5.0)[50:-50].std() == pytest.approx(1 / np.sqrt(2 * np.sqrt(np.pi) * 5), rel=0.1)
