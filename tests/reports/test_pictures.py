"""What the pictures draw, read back from the axes, against the numbers that they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from sklearn.metrics import precision_recall_curve, roc_curve

from lit_mlfund.reports import pictures as module
from lit_mlfund.reports.holes import Holes


def line(axis: Axes, number: int = 0) -> tuple[list[float], list[float]]:
    x, y = axis.lines[number].get_data()
    return np.asarray(x).tolist(), np.asarray(y).tolist()


@pytest.fixture
def scored() -> pl.DataFrame:
    generator = np.random.default_rng(0)
    target = generator.integers(0, 2, 60).astype(float)
    return pl.DataFrame(
        {"target": target, "probability": np.clip(generator.normal(0.3 + 0.3 * target, 0.2), 0.01, 0.9)}
    )


def test_learning_curves() -> None:
    history: list[dict[str, Any]] = [
        {"epoch": 1, "train/loss": 0.7, "val/loss": 0.8, "val/auroc": 0.6},
        {"epoch": 2, "val/loss": 0.5, "val/auroc": None},
    ]
    loss, metric = module.learning_curves(history, "auroc").axes
    assert line(loss, 0)[1] == pytest.approx([0.7, np.nan], nan_ok=True) and line(loss, 1) == (
        [1, 2],
        [0.8, 0.5],
    )
    assert line(metric)[0] == [1, 2] and line(metric)[1] == pytest.approx([0.6, np.nan], nan_ok=True)
    assert metric.get_ylabel() == "val/auroc" and len(module.learning_curves(history, "loss").axes) == 1


def test_roc_and_precision_recall(scored: pl.DataFrame) -> None:
    target, probability = scored["target"].to_numpy(), scored["probability"].to_numpy()
    roc, pr = module.roc_and_precision_recall(scored).axes
    expected = roc_curve(target, probability)
    assert line(roc) == (expected[0].tolist(), expected[1].tolist()) and line(roc, 1) == ([0, 1], [0, 1])
    precision, recall, _ = precision_recall_curve(target, probability)
    assert line(pr) == (recall.tolist(), precision.tolist())
    assert line(pr, 1)[1] == [target.mean()] * 2
    for label in (0.0, 1.0):  # no curve, and the reason
        roc, pr = module.roc_and_precision_recall(scored.with_columns(target=pl.lit(label))).axes
        assert len(roc.lines) == len(pr.lines) == 1 and roc.texts[0].get_text() == "all rows are of one class"


def test_reliability(scored: pl.DataFrame) -> None:
    axis, counts = module.reliability(scored, num_bins=4).axes
    ordered = scored.sort("probability")
    bins = [ordered.slice(15 * number, 15) for number in range(4)]
    mean, share = ([part[name].mean() for part in bins] for name in ("probability", "target"))
    assert line(axis) == (pytest.approx(mean), pytest.approx(share))
    half = [1.96 * np.sqrt(p * (1 - p) / 15) for p in share]  # type: ignore[operator]
    (bars,) = axis.containers[0][2]
    assert [(top - low) / 2 for (_, low), (_, top) in bars.get_segments()] == pytest.approx(half, abs=1e-6)
    assert line(axis, -1) == ([0, 1], [0, 1])
    limit = min(1, 1.15 * max(scored["probability"].max(), scored["target"].mean()))  # type: ignore[type-var]
    assert axis.get_xlim() == axis.get_ylim() == (0, pytest.approx(limit))
    assert sum(counts.patches[0].get_data().values) == 60
    assert len(line(module.reliability(scored.head(3)).axes[0])[0]) == 3  # fewer rows than bins


def test_residuals() -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(size=2001)
    table = pl.DataFrame({"target": target, "prediction": 2 * target + 1})
    scatter, histogram = module.residuals(table.head(2000)).axes[:2]
    assert line(scatter) == (table["prediction"].head(2000).to_list(), table["target"].head(2000).to_list())
    low, high = min(table["target"].min(), table["prediction"].min()), max(table["prediction"].max(), 0)  # type: ignore[type-var]
    many = module.residuals(table).axes
    assert (
        len(many[0].lines) == 1 and len(many[0].collections) == 1
    )  # hexagons where points would hide each other
    assert line(many[0]) == (pytest.approx([low, high]), pytest.approx([low, high]))
    drawn = many[1].patches[0].get_data()
    error = np.sort(2 * target + 1 - target)
    assert drawn.values.sum() == 2001 and drawn.edges[[0, -1]] == pytest.approx(
        np.quantile(error, [0.005, 0.995])
    )
    assert histogram.get_ylabel() == "rows"


def test_scores_by_relevance_and_recall_by_rank() -> None:
    table = pl.DataFrame(
        {"target": [2.0, 0.0, 2.0, 0.0, 1.0], "score": [5.0, 1.0, 7.0, 2.0, 3.0], "rank": [1, 4, 2, 4, 9]}
    )
    (axis,) = module.scores_by_relevance(table).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0", "1", "2"]
    medians = [
        np.unique(drawn.get_ydata()).tolist() for drawn in axis.lines if drawn.get_color() == module.MODEL
    ]
    assert medians == [[1.5], [3.0], [6.0]]
    (axis,) = module.recall_by_rank(table).axes
    assert line(axis) == ([1, 2, 4, 4, 9], pytest.approx([0.2, 0.4, 0.6, 0.8, 1]))


def test_against_references() -> None:
    def entry(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
        return {"auroc": {"value": value, "low": low, "high": high}}

    references = {"gradient_boosting": entry(0.8, 0.7, 0.9), "other": {}, "constant": entry(None, None, None)}
    (axis,) = module.against_references("auroc", entry(0.6, 0.5, 0.65), references).axes
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    assert labels == ["gradient boosting", "constant (no value)", "this model"]
    assert line(axis, 0) == ([0.7, 0.9], [0, 0]) and line(axis, 1) == ([0.8], [0])
    assert line(axis, 4) == ([0.5, 0.65], [2, 2]) and line(axis, 5) == ([0.6], [2])


@pytest.mark.parametrize(("value", "drawn"), [(0.5, True), (None, False)])
def test_which_pictures_are_drawn(scored: pl.DataFrame, value: float | None, drawn: bool) -> None:
    measured = {"auroc": {"value": value, "low": value, "high": value}}
    metrics = {"history": [], "splits": {"test": measured}, "references": {"constant": {"test": measured}}}
    holes = Holes()
    figures = module.pictures(
        ["reliability", "lit_mlfund.reports.pictures.nothing"], scored, metrics, "auroc", holes
    )
    assert set(figures) == {"learning_curves", "reliability"} | ({"against_references"} if drawn else set())
    assert holes.keys() == {"picture nothing"}
