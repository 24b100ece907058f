"""Finds test rows that training has already, exactly or nearly, and measures what that adds to the score."""

from __future__ import annotations

import numpy as np

from lit_mlfund.diagnostics.measures.data_evidence import Duplicates
from lit_mlfund.diagnostics.measures.interval import Measure, difference, mean
from lit_mlfund.diagnostics.measures.probe import Probe
from lit_mlfund.diagnostics.measures.rows import Sample, losses

GRID = 0.02  # standard deviations: values that are nearer than a small part of it are nearly equal
FEWEST = 10  # rows, of whose score nothing can be said otherwise
FEWEST_TRAINING = 60
MOST_NAMED = 20


def fingerprints(*parts: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a number uint64 `[N]` for each row of the parts `[N, …]`: that of equal rows is equal."""
    generator = np.random.default_rng(seed)
    total = np.zeros(len(parts[0]), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            flat = part.reshape(len(part), -1)
            for column in range(flat.shape[1]):
                values = flat[:, column]
                # adding 0 makes -0.0 and 0.0 the same bits
                bits = (values + 0).astype(np.float64).view(np.uint64) if values.dtype.kind == "f" else values
                mixed = (bits.astype(np.uint64) ^ generator.integers(2**63, dtype=np.uint64)) * np.uint64(
                    0x9E3779B97F4A7C15
                )
                mixed ^= mixed >> np.uint64(29)
                mixed *= generator.integers(2**63, dtype=np.uint64) | np.uint64(1)
                # tokens are padded with zeros, in each split to its longest text
                total += mixed if values.dtype.kind == "f" else np.where(values != 0, mixed, np.uint64(0))
    return total


def rounded_fingerprints(numeric: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Return fingerprints `[N, 2]` of standardised values on two grids: rows that are near agree on one of them."""
    grids = [np.floor(numeric / GRID + shift).astype(np.int64) for shift in (0.0, 0.5)]
    return np.stack([fingerprints(grid, *others, seed=1) for grid in grids], axis=1)


def duplicates(sample: Sample, floor: float) -> Duplicates | None:
    """Compare test with training; None where there are no fingerprints, or no test row is one of training."""
    train, test = (sample.fingerprints.get(split) for split in ("train", "test"))
    if train is None or test is None:
        return None
    exact = np.isin(test.exact, train.exact)
    near = np.zeros_like(exact)
    for grid in range(train.near.shape[1]):
        near |= np.isin(test.near[:, grid], train.near[:, grid])
    near &= ~exact
    both = exact | near
    if not both.any():
        return None
    copies = _copies(train.exact, test.exact, exact)
    for grid in range(train.near.shape[1]):
        copies = np.where(copies < 0, _copies(train.near[:, grid], test.near[:, grid], near), copies)
    same = train.y[copies[both]] == test.y[both]
    if sample.num_classes == 0:
        same = np.abs(train.y[copies[both]] - test.y[both]) < 1e-3
    found = np.flatnonzero(both)
    told = Duplicates(
        exact=int(exact.sum()),
        near=int(near.sum()),
        share=float(both.mean()),
        kinds=len(np.unique(train.exact)) / len(train.exact),
        same_target=float(same.mean()),
        rows=test.index[found[:MOST_NAMED]].tolist(),
        copies=train.index[copies[found[:MOST_NAMED]]].tolist(),
    )
    if both.sum() < FEWEST or (~both).sum() < FEWEST:
        return told
    return _with_scores(told, sample, floor, both, copies)


def _copies(before: np.ndarray, now: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Return for each row the position of a row of training with its fingerprint, −1 for rows that are not `which`."""
    order = np.argsort(before, kind="stable")
    place = np.searchsorted(before[order], now).clip(max=len(before) - 1)
    return np.where(which & (before[order[place]] == now), order[place], -1)


def _with_scores(
    told: Duplicates, sample: Sample, floor: float, both: np.ndarray, copies: np.ndarray
) -> Duplicates:
    """Add the scores of the model and of a probe that has not seen the copies."""
    test, train = sample.fingerprints["test"], sample.fingerprints["train"]
    constant = np.full(len(test.y), float(np.mean(train.y)))
    if sample.num_classes:  # the most frequent class
        constant = np.eye(sample.num_classes)[np.full(len(test.y), np.bincount(train.y).argmax())]
    changes: dict[str, Measure | bool] = {
        "copied": _copying(constant[both], test.y[both], train.y[copies[both]], sample.num_classes)
    }
    is_copied = dict(zip(test.index.tolist(), both.tolist()))
    predicted = sample.predictions.get("test")
    lost: dict[int, float] = {}
    if predicted is not None:
        values = losses(predicted.output, predicted.y, sample.num_classes)
        lost = dict(zip(predicted.index.tolist(), values.tolist()))
        copied = np.array([is_copied.get(row, False) for row in predicted.index.tolist()])
        changes |= {"clean": mean(values[~copied]), "duplicated": mean(values[copied])}
        changes["gain"] = difference(mean(values[~copied]), mean(values[copied])).over(floor)
    rows, before = sample.rows.get("test"), sample.rows.get("train")
    if rows is not None and before is not None and len(sample.names):
        seen = set(train.index[copies[both]].tolist())
        fresh = np.array([row not in seen for row in before.index.tolist()])
        copied = np.array([is_copied.get(row, False) for row in rows.index.tolist()])
        classes = len(np.unique(before.y[fresh])) if sample.num_classes else 2
        if (
            fresh.sum() >= FEWEST_TRAINING
            and copied.sum() >= FEWEST
            and (~copied).sum() >= FEWEST
            and classes > 1
        ):
            probe = Probe(sample.num_classes).fit(before.x[fresh], before.y[fresh])
            output = probe.output(rows.x)
            changes["compared"] = True
            place = {row: number for number, row in enumerate(test.index.tolist())}
            own = np.array([place[row] for row in rows.index[copied].tolist()])
            changes["copied"] = _copying(
                output[copied], rows.y[copied], train.y[copies[own]], sample.num_classes
            )
            if lost:
                ahead = losses(output, rows.y, sample.num_classes) - np.array(
                    [lost.get(row, np.nan) for row in rows.index.tolist()]
                )
                known = ~np.isnan(ahead)
                changes["gain"] = difference(mean(ahead[copied & known]), mean(ahead[~copied & known])).over(
                    floor
                )
    return Duplicates(**{**told.__dict__, **changes})


def _copying(output: np.ndarray, y: np.ndarray, copy: np.ndarray, num_classes: int) -> Measure:
    """Return by how much more often the copy's class is right than the probe's, or how much nearer its value is."""
    if num_classes == 0:
        return mean((output - y) ** 2 - (copy - y) ** 2)
    predicted = (output > 0).astype(int) if output.ndim == 1 else output.argmax(1)
    return mean((copy == y).astype(float) - (predicted == y).astype(float))
