"""Pictures drawn on recycled figures equal those on new ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from lit_mlfund.modules import (
    BinaryModule,
    MulticlassModule,
    RankingModule,
    RegressionModule,
    RetrievalModule,
)
from lit_mlfund.reports import figures
from lit_mlfund.reports.card import png
from lit_mlfund.reports.holes import Holes
from lit_mlfund.reports.pictures import pictures

Draw = Callable[[], dict[str, Figure]]


def drawn(task: str, size: int, seed: int) -> dict[str, Figure]:
    """All pictures of a run that is made up."""
    generator = np.random.default_rng(seed)
    target, score = generator.integers(0, 2, size), generator.normal(size=size)
    labels = np.array(["a", "b", "a long one"])
    columns = {
        "binary": {"target": target, "probability": 1 / (1 + np.exp(-score))},
        "multiclass": {
            "label": labels[target],
            "prediction": labels[target + generator.integers(0, 2, size)],
        },
        "regression": {"target": 1e6 * score, "prediction": 1e6 * (score + generator.normal(size=size))},
        "ranking": {"target": target.astype(float), "score": score},
        "retrieval": {"rank": generator.integers(1, 1000, size)},
    }[task]
    history = [
        {"epoch": epoch, "train/loss": 1 / epoch, "val/loss": 2e-7 / epoch, "val/x": -50.0 * epoch}
        for epoch in range(1, 2 + seed)
    ]
    measured = {"x": {"value": 1.0 + seed, "low": 0.5, "high": 2.5 + seed}}
    metrics = {
        "history": history,
        "splits": {"test": measured},
        "references": {"constant": {"test": measured}, "gradient_boosting": {"test": measured}},
    }
    return pictures(FIGURES[task], pl.DataFrame(columns), metrics, "x", Holes())


FIGURES = {
    module.task: module.figures
    for module in (BinaryModule, MulticlassModule, RegressionModule, RankingModule, RetrievalModule)
}
CASES = [(task, size, seed) for task in FIGURES for size, seed in ((3000, 5), (60, 0))]


@pytest.fixture(autouse=True)
def _empty_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_pool", [])


def test_recycled_figures_draw_what_new_ones_draw() -> None:
    fresh = {case: {name: png(figure) for name, figure in drawn(*case).items()} for case in CASES}
    assert figures._pool == []
    monitored = [*CASES, *reversed(CASES), *CASES[::3], *CASES[1::3]]
    taken = set()
    for case in monitored:
        for name, figure in drawn(*case).items():
            taken.add(id(figure))
            assert png(figure) == fresh[case][name], (case, name)
            figures.recycle(figure)
    assert len(figures._pool) <= figures.POOL_SIZE
    assert len(taken) < sum(len(fresh[case]) for case in monitored) / 2  # most were recycled


def test_a_figure_with_additions_is_not_recycled() -> None:
    figure, (axis,) = figures.reusable_figure()
    figure.colorbar(axis.imshow(np.eye(3)), ax=axis)
    figures.recycle(figure)
    other, (axis, _) = figures.reusable_figure(2)
    other.set_layout_engine("constrained")
    figures.recycle(other)
    figures.recycle(Figure())
    assert figures._pool == []


def test_two_figures_of_one_layout_at_once_are_distinct() -> None:
    one, two = figures.reusable_figure()[0], figures.reusable_figure()[0]
    assert one is not two
    figures.recycle(one)
    figures.recycle(two)
    assert {id(figures.reusable_figure()[0]), id(figures.reusable_figure()[0])} == {id(one), id(two)}
    assert figures.reusable_figure()[0] not in (one, two)


def test_nothing_of_a_drawing_is_left() -> None:
    def plain() -> bytes:
        figure, (axis,) = figures.reusable_figure()
        axis.plot([0.2, 0.4, 0.3])
        picture = png(figure)
        assert axis.containers == []
        assert axis.get_ylim()[1] < 0.5
        figures.recycle(figure)
        return picture

    def empty() -> bytes:
        figure, _ = figures.reusable_figure()
        picture = png(figure)
        figures.recycle(figure)
        return picture

    fresh = plain()
    figures._pool.clear()
    blank = empty()
    figures._pool.clear()
    figure, (axis,) = figures.reusable_figure()
    axis.errorbar([1, 2], [3, 4], yerr=[1, 1], label="one")
    axis.legend()
    axis.set_yticks([3, 4], ["three", "four"])
    axis.set(xlabel="x", ylabel="y", title="title", aspect="equal", xlim=(1, 10), xscale="log")
    png(figure)
    figures.recycle(figure)
    assert plain() == fresh
    assert empty() == blank
    assert figures.reusable_figure()[0] is figure
