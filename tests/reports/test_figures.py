"""Pictures on sheets that were drawn on before are those on new ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from lit_mlfund.reports import figures
from lit_mlfund.reports.card import png
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
    return pictures(task, pl.DataFrame(columns), metrics, "x")


CASES = [
    (task, size, seed)
    for task in ("binary", "regression", "multiclass", "ranking", "retrieval")
    for size, seed in ((3000, 5), (60, 0))
]


@pytest.fixture(autouse=True)
def _no_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_kept", [])


def test_used_sheets_draw_what_new_ones_draw() -> None:
    fresh = {case: {name: png(figure) for name, figure in drawn(*case).items()} for case in CASES}
    assert figures._kept == []
    monitored = [*CASES, *reversed(CASES), *CASES[::3], *CASES[1::3]]
    taken = set()
    for case in monitored:
        for name, figure in drawn(*case).items():
            taken.add(id(figure))
            assert png(figure) == fresh[case][name], (case, name)
            figures.give_back(figure)
    assert len(figures._kept) <= figures.MOST_KEPT
    assert len(taken) < sum(len(fresh[case]) for case in monitored) / 2  # most were used ones


def test_a_sheet_that_was_built_on_is_not_taken_again() -> None:
    figure, (axis,) = figures.sheet()
    figure.colorbar(axis.imshow(np.eye(3)), ax=axis)
    figures.give_back(figure)
    other, (axis, _) = figures.sheet(2)
    other.set_layout_engine("constrained")
    figures.give_back(other)
    figures.give_back(Figure())
    assert figures._kept == []


def test_two_of_a_form_at_once_are_two() -> None:
    one, two = figures.sheet()[0], figures.sheet()[0]
    assert one is not two
    figures.give_back(one)
    figures.give_back(two)
    assert {id(figures.sheet()[0]), id(figures.sheet()[0])} == {id(one), id(two)}
    assert figures.sheet()[0] not in (one, two)


def test_nothing_of_a_drawing_is_left() -> None:
    def plain() -> bytes:
        figure, (axis,) = figures.sheet()
        axis.plot([0.2, 0.4, 0.3])
        picture = png(figure)
        assert axis.containers == []
        assert axis.get_ylim()[1] < 0.5
        figures.give_back(figure)
        return picture

    def empty() -> bytes:
        figure, _ = figures.sheet()
        picture = png(figure)
        figures.give_back(figure)
        return picture

    fresh = plain()
    figures._kept.clear()
    blank = empty()
    figures._kept.clear()
    figure, (axis,) = figures.sheet()
    axis.errorbar([1, 2], [3, 4], yerr=[1, 1], label="one")
    axis.legend()
    axis.set_yticks([3, 4], ["three", "four"])
    axis.set(xlabel="x", ylabel="y", title="title", aspect="equal", xlim=(1, 10), xscale="log")
    png(figure)
    figures.give_back(figure)
    assert plain() == fresh
    assert empty() == blank
    assert figures.sheet()[0] is figure
