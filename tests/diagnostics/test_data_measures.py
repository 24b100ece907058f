"""Measurements on data: against closed forms, brute force and planted causes, and zero where nothing is planted."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lit_mlfund.diagnostics.measures.columns import column_shifts
from lit_mlfund.diagnostics.measures.data_evidence import DataEvidence
from lit_mlfund.diagnostics.measures.duplicates import duplicates, fingerprints, rounded_fingerprints
from lit_mlfund.diagnostics.measures.examine import examine
from lit_mlfund.diagnostics.measures.interval import difference, mean
from lit_mlfund.diagnostics.measures.noise import heavy_rows, margins, wrong_share
from lit_mlfund.diagnostics.measures.probe import CrossFit, folds_of
from lit_mlfund.diagnostics.measures.rows import Fingerprints, Predictions, Rows, Sample, floor_loss, losses

SPLITS = {"train": slice(0, 1400), "val": slice(1400, 1700), "test": slice(1700, 2000)}


def sample(x: np.ndarray, y: np.ndarray, num_classes: int = 2, later: Any = None, **changes: Any) -> Sample:
    """Cut rows into splits; `later` changes the columns `[N, F]` of validation and test as they stand in the file."""
    names = tuple(f"x{column}" for column in range(x.shape[1]))
    rows = {}
    for split, part in SPLITS.items():
        file = x[part].copy()
        if later is not None and split != "train":
            later(file)
        rows[split] = Rows(
            np.clip(file, -10, 10),
            y[part],
            np.arange(len(x))[part],
            {name: file[:, column] for column, name in enumerate(names)},
        )
    known = Sample(
        "binary" if num_classes else "regression",
        "rows",
        rows,
        names,
        np.zeros(len(names), dtype=bool),
        num_classes,
        names,
    )
    return dataclasses.replace(known, **changes)


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2000, 5))
    y = (generator.random(2000) < 1 / (1 + np.exp(-2 * x[:, 0] - x[:, 1]))).astype(int)
    return x, y


def test_intervals_of_means() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = mean(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == (
        pytest.approx(values.mean() - half),
        pytest.approx(values.mean() + half),
    )
    both = difference(found, found)
    assert both.value == 0 and both.high == pytest.approx(math.sqrt(2) * half)
    copied = mean(np.repeat(values, 5), groups=np.repeat(np.arange(400), 5))
    assert (copied.low, copied.high) == (pytest.approx(found.low), pytest.approx(found.high))
    weighted = mean(values, np.r_[np.ones(200), np.zeros(200)])
    assert weighted.value == pytest.approx(values[:200].mean())
    assert math.isnan(mean(values[:1]).value)


def test_losses_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import log_loss

    generator = np.random.default_rng(0)
    logits, y = generator.normal(size=(50, 3)), generator.integers(0, 3, 50)
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert losses(logits, y, 3).mean() == pytest.approx(log_loss(y, probability, labels=[0, 1, 2]))
    binary, labels = logits[:, 0], y % 2
    assert losses(binary, labels, 2).mean() == pytest.approx(log_loss(labels, 1 / (1 + np.exp(-binary))))
    share = np.bincount(y) / 50
    assert floor_loss(y, 3) == pytest.approx(log_loss(y, np.tile(share, (50, 1)), labels=[0, 1, 2]))
    assert floor_loss(binary, 0) == pytest.approx(binary.var())


def test_a_feature_cut_in_two_is_not_the_target() -> None:
    x = np.random.default_rng(0).normal(size=(2000, 3))
    cut = examine(sample(x, (x[:, 0] > 0).astype(int)), 100.0).strengths[0]
    assert cut.column == "x0" and cut.skill.low > 0.9 and cut.others < 0.1
    assert 0.6 < cut.separation < 0.78
    y = np.arange(2000) % 2
    x[:, 0] = np.where(y == 1, np.exp(x[:, 1]), 0.0)  # an amount that is there for one class only
    assert examine(sample(x, y), 100.0).strengths[0].separation > 0.85


def test_only_shifted_columns_are_named(table: tuple[np.ndarray, np.ndarray]) -> None:
    def move(file: np.ndarray) -> None:
        file[:, 2] += 1.5

    assert list(column_shifts(sample(*table))) == []
    found = list(column_shifts(sample(*table, later=move)))
    assert {(part.column, part.split) for part in found} == {("x2", "val"), ("x2", "test")}
    for part in found:
        assert part.q < 1e-10 and part.psi > 1
        # of ten bins, as the closed form of the distribution without a shift says
        rows = len(table[0][SPLITS[part.split]])
        assert part.null == pytest.approx(stats.chi2.ppf(0.99, 9) * (1 / 1400 + 1 / rows))


def test_nothing_is_found_where_nothing_is_planted(table: tuple[np.ndarray, np.ndarray]) -> None:
    found = examine(sample(*table), 100.0)
    assert found.columns == found.units == found.filled == found.unseen == found.overlaps == []
    (cost,) = found.costs
    assert not cost.total.above and cost.auroc.low < 0.5 < cost.auroc.high
    assert found.noise is not None and found.noise.share.low == 0
    assert found.strengths[0].column == "x0" and 0.2 < found.strengths[0].skill.value < 0.5
    assert found.missing == {}
    assert found == examine(sample(*table), 100.0)  # the same again


def test_another_unit(table: tuple[np.ndarray, np.ndarray]) -> None:
    def fahrenheit(file: np.ndarray) -> None:
        file[:, 0] = 32 + 1.8 * file[:, 0]

    found = examine(sample(*table, later=fahrenheit), 100.0)
    unit = next(unit for unit in found.units if unit.split == "test")
    assert unit.column == "x0" and unit.factor == pytest.approx(1.8, rel=0.15) and unit.gain.low > 0.1
    restored, sound = unit.gain.value, examine(sample(*table), 100.0).costs[0].total.value
    assert found.costs[0].total.value - restored == pytest.approx(sound, abs=0.05)


def test_values_that_have_really_spread_are_no_other_unit(table: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = table
    x = x.copy()
    x[1400:, 0] *= 2.5
    y = (np.random.default_rng(1).random(2000) < 1 / (1 + np.exp(-2 * x[:, 0] - x[:, 1]))).astype(int)
    units = examine(sample(x, y), 100.0).units
    assert {unit.column for unit in units} == {"x0"} and not any(unit.gain.above for unit in units)


def test_a_default_in_the_place_of_values(table: tuple[np.ndarray, np.ndarray]) -> None:
    def fill(file: np.ndarray) -> None:
        file[: len(file) // 2, 0] = -9.0

    found = examine(sample(*table, later=fill), 100.0).filled
    assert {(part.column, part.value, part.share_train) for part in found} == {("x0", -9.0, 0.0)}
    assert all(part.share == pytest.approx(0.5) and part.cost.low > 0 for part in found)


def test_the_relation_or_the_features(table: tuple[np.ndarray, np.ndarray]) -> None:
    """A target that is turned costs on rows like those of training; features that have moved do not."""
    x, y = table
    turned = y.copy()
    turned[1700:] = 1 - turned[1700:]
    (cost,) = examine(sample(x, turned), 100.0).costs
    assert cost.total.low > 0.5 and cost.relation.low > 0.5 and not cost.features.above


def test_labels_of_other_shares(table: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = table
    kept = np.r_[np.flatnonzero(y[:1400] == 1)[:100], np.flatnonzero(y[:1400] == 0)]
    known = sample(x, y)
    train = known.rows["train"]
    fewer = Rows(
        train.x[kept], train.y[kept], train.index[kept], {n: v[kept] for n, v in train.columns.items()}
    )
    found = examine(dataclasses.replace(known, rows={**known.rows, "train": fewer}), 100.0)
    label = next(part for part in found.labels if part.split == "test")
    assert label.distance == pytest.approx(abs(fewer.y.mean() - y[1700:].mean()), abs=0.01)
    assert label.p < 1e-6 and label.gain.low > 0


def test_fingerprints() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 6)).astype(np.float32)
    codes = generator.integers(0, 3, (500, 2))
    assert len(np.unique(fingerprints(x, codes))) == 500
    again, zero = x.copy(), x.copy()
    zero[0], again[0] = 0.0, -0.0
    assert fingerprints(zero, codes)[0] == fingerprints(again, codes)[0]
    swapped = x[:, [1, 0, 2, 3, 4, 5]]
    assert not np.isin(fingerprints(x, codes), fingerprints(swapped, codes)).any()
    assert not np.isin(fingerprints(x, codes), fingerprints(x, codes + 1)).any()
    padded = np.pad(codes, ((0, 0), (0, 3)))  # as texts are, in each split to the longest
    assert (fingerprints(padded) == fingerprints(codes)).all()
    moved = x + np.float32(1e-5)
    assert (fingerprints(moved, codes) != fingerprints(x, codes)).all()
    near = rounded_fingerprints(x, [codes]) == rounded_fingerprints(moved, [codes])
    assert near.any(1).mean() > 0.99
    far = rounded_fingerprints(x + 0.2, [codes]) == rounded_fingerprints(x, [codes])
    assert not far.any()


def test_copies_and_what_they_add(table: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = (part.copy() for part in table)
    x[1700:1790], y[1700:1790] = x[100:190], y[100:190]
    x[1790:1800], y[1790:1800] = x[200:210] + 1e-6, y[200:210]
    known = sample(x, y)
    prints = {
        split: Fingerprints(
            fingerprints(x[part]), rounded_fingerprints(x[part], []), np.arange(2000)[part], y[part]
        )
        for split, part in SPLITS.items()
    }
    honest = np.where(np.arange(1700, 2000) < 0, 0.0, 2 * x[1700:, 0] + x[1700:, 1])
    by_heart = np.where(np.arange(300) < 100, 20.0 * y[1700:] - 10, honest)
    gains = []
    for output in (honest, by_heart):
        predictions = {"test": Predictions(np.arange(1700, 2000), output, y[1700:])}
        found = duplicates(dataclasses.replace(known, fingerprints=prints, predictions=predictions), 0.69)
        assert found is not None and (found.exact, found.near) == (90, 10)
        assert found.same_target == 1.0 and found.rows[:3] == [1700, 1701, 1702]
        assert found.copies[:3] == [100, 101, 102] and found.compared
        clean = losses(output, y[1700:], 2)[100:].mean()
        assert found.clean.value == pytest.approx(clean)
        gains.append(found.gain)
    assert not gains[0].above and gains[1].low > 0.2


def test_wrong_labels() -> None:
    """The share is found where labels are turned, and is 0 where classes only overlap, however much."""
    generator = np.random.default_rng(0)
    logits = 4 * generator.normal(size=4000)
    honest = (generator.random(4000) < 1 / (1 + np.exp(-logits))).astype(int)
    turned = np.where(generator.random(4000) < 0.15, 1 - honest, honest)
    share, statistic, _ = wrong_share(*margins(logits, turned))
    assert share.low < 0.15 < share.high and share.low > 0.1 and statistic > 50
    assert wrong_share(*margins(logits, honest))[0].low == 0
    flat = 0.3 * generator.normal(size=4000)
    noisy = (generator.random(4000) < 1 / (1 + np.exp(-flat))).astype(int)
    assert wrong_share(*margins(flat, noisy))[0].low == 0
    several = generator.normal(size=(10, 3))
    margin, agrees = margins(several, several.argmax(1))
    ordered = np.sort(several)
    assert agrees.all() and np.allclose(margin, ordered[:, 2] - ordered[:, 1])


def test_rows_that_carry_the_loss() -> None:
    generator = np.random.default_rng(0)
    error = generator.normal(size=1000)
    plain = heavy_rows(Predictions(np.arange(1000), error, np.zeros(1000)), "train", 0, 1.0)
    assert plain is not None and abs(plain.count - plain.expected) < 25
    error[[17, 600]] = 200.0
    heavy = heavy_rows(Predictions(np.arange(1000) + 5, error, np.zeros(1000)), "train", 0, 1.0)
    assert heavy is not None and heavy.count == 2 and sorted(heavy.rows) == [22, 605]
    rare = generator.random(5000) < 0.01
    logits = np.full(5000, math.log(0.01 / 0.99))
    calibrated = heavy_rows(Predictions(np.arange(5000), logits, rare.astype(int)), "test", 2, 0.056)
    assert calibrated is not None and calibrated.count > calibrated.expected / 2


def test_held_out_rows_are_held_out(table: tuple[np.ndarray, np.ndarray]) -> None:
    """Labels at random are not learned: a probe that had seen its rows would do better than the constant."""
    x, _ = table
    y = np.random.default_rng(3).integers(0, 2, 2000)
    known = sample(x, y)
    fit = CrossFit(known, folds_of(known.rows["train"]))
    assert mean(fit.losses).low > math.log(2) - 0.02
    groups = np.repeat(np.arange(140), 10)
    fold = folds_of(known.rows["train"], groups)
    assert all(len(set(fold[groups == group])) == 1 for group in range(140))


def test_what_takes_too_long_is_left_out(table: tuple[np.ndarray, np.ndarray]) -> None:
    found = examine(sample(*table), -1.0)
    assert {"columns", "costs", "duplicates"} <= set(found.missing)
    assert found.costs == [] and isinstance(found, DataEvidence)


@pytest.mark.parametrize("rows", [1, 5, 30])
def test_few_rows(table: tuple[np.ndarray, np.ndarray], rows: int) -> None:
    known = sample(*table)
    few = {
        split: Rows(
            part.x[:rows], part.y[:rows], part.index[:rows], {n: v[:rows] for n, v in part.columns.items()}
        )
        for split, part in known.rows.items()
    }
    found = examine(dataclasses.replace(known, rows=few), 100.0)
    assert found.costs == [] and "costs" in found.missing


def test_one_class_or_one_value(table: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = table
    found = examine(sample(x, np.zeros(2000, dtype=int)), 100.0)
    assert found.costs == [] and "costs" in found.missing
    x = x.copy()
    x[:, 1], x[:, 2] = 3.0, np.nan
    known = sample(np.nan_to_num(x), np.arange(2000) % 2)
    for rows in known.rows.values():
        rows.columns["x2"][:] = np.nan
    assert examine(known, 100.0).columns == []
