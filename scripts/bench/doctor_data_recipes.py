"""The tables of the doctor's benchmark whose rows are at fault: shifted, leaking, copied, mislabelled; and sound ones.

Each table with a fault has a twin of the same rows without it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

ROWS = 2400
CUT = 1680  # rows of training, in tables with a column `split`
Columns = dict[str, np.ndarray]


def _split() -> np.ndarray:
    return np.r_[["train"] * CUT, ["val"] * 360, ["test"] * 360]


def _later() -> np.ndarray:
    return np.arange(ROWS) >= CUT


def _features(generator: np.random.Generator, columns: int = 6, rows: int = ROWS) -> Columns:
    return {f"x{column}": generator.normal(size=rows) for column in range(columns)}


def _labels(generator: np.random.Generator, logit: np.ndarray) -> np.ndarray:
    return (generator.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(int)


def _logit(x: Columns) -> np.ndarray:
    return 2.5 * x["x0"] + 1.5 * x["x1"] - x["x2"]


def covariates(generator: np.random.Generator, fault: bool) -> Columns:
    """Move a feature to where training has hardly a row, and the target follows another branch there."""
    x = _features(generator)
    x["x0"] = x["x0"] + 2.5 * (_later() & fault)
    y = 3 * np.sin(1.5 * x["x0"]) + x["x1"] + 0.3 * generator.normal(size=ROWS)
    return {**x, "split": _split(), "y": y}


def labels(generator: np.random.Generator, fault: bool) -> Columns:
    """Keep more of the positive rows later: classes change their shares, and nothing else."""
    x = {name: values for name, values in _features(generator, rows=4 * ROWS).items()}
    y = _labels(generator, 1.2 * _logit(x) / 2.5 - 2)
    positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    rows = []
    for size, share in ((CUT, 0.15), (ROWS - CUT, 0.6 if fault else 0.15)):
        taken = round(size * share)
        rows.append(generator.permutation(np.r_[positive[:taken], negative[: size - taken]]))
        positive, negative = positive[taken:], negative[size - taken :]
    chosen = np.concatenate(rows)
    return {**{name: values[chosen] for name, values in x.items()}, "split": _split(), "y": y[chosen]}


def drift(generator: np.random.Generator, fault: bool) -> Columns:
    """Turn the relation of features and target with time."""
    x = _features(generator)
    time = np.arange(ROWS)
    turn = np.pi * time / ROWS * fault
    y = _labels(generator, 3 * (np.cos(turn) * x["x0"] + np.sin(turn) * x["x1"]))
    return {**x, "time": time, "y": y}


def units(generator: np.random.Generator, fault: bool) -> Columns:
    """Write a feature in grams where training has kilograms."""
    x = _features(generator)
    y = _labels(generator, _logit(x))
    weight = 70 + 12 * x.pop("x0")
    return {"weight": np.where(_later() & fault, 1000 * weight, weight), **x, "split": _split(), "y": y}


def fahrenheit(generator: np.random.Generator, fault: bool) -> Columns:
    """Write a feature in degrees Fahrenheit where training has Celsius."""
    x = _features(generator)
    y = _logit(x) + 0.5 * generator.normal(size=ROWS)
    degrees = 15 + 8 * x.pop("x0")
    return {
        "degrees": np.where(_later() & fault, 32 + 1.8 * degrees, degrees),
        **x,
        "split": _split(),
        "y": y,
    }


def zeros(generator: np.random.Generator, fault: bool) -> Columns:
    """Write 0 where a feature was not measured later."""
    x = _features(generator)
    y = _labels(generator, 2 * _logit(x))
    blood = 140 + 20 * x.pop("x0")
    lost = _later() & fault & (generator.random(ROWS) < 0.5)
    return {"blood": np.where(lost, 0.0, blood), **x, "split": _split(), "y": y}


def unseen(generator: np.random.Generator, fault: bool) -> Columns:
    """Name shops later that training does not have; a shop says much."""
    x = _features(generator)
    shop = generator.integers(0, 12, ROWS)
    effect = 3 * np.tile([-1.0, 1.0, -0.5, 0.5], 4)
    new = _later() & (generator.random(ROWS) < 0.18) & fault
    shop = np.where(new, 12 + generator.integers(0, 4, ROWS), shop)
    y = effect[shop] + x["x1"] + 0.3 * generator.normal(size=ROWS)
    return {**x, "shop": np.array([f"shop {chr(97 + number)}" for number in shop]), "split": _split(), "y": y}


def leak(generator: np.random.Generator, fault: bool) -> Columns:
    """Have a feature that is the target in 98 of 100 rows, as if it had been written down afterwards."""
    x = _features(generator)
    y = _labels(generator, 0.6 * _logit(x))
    told = np.where(generator.random(ROWS) < 0.02, 1 - y, y) + 0.1 * generator.normal(size=ROWS)
    return {**x, "status": told if fault else generator.normal(size=ROWS), "y": y}


def leak_of_a_number(generator: np.random.Generator, fault: bool) -> Columns:
    """Have a feature that is the target but for rounding."""
    x = _features(generator)
    y = _logit(x) + 2 * generator.normal(size=ROWS)
    told = 3 * y + 0.05 * generator.normal(size=ROWS)
    return {**x, "paid": told if fault else generator.normal(size=ROWS), "y": y}


def copies(generator: np.random.Generator, fault: bool) -> Columns:
    """Write a third of the rows three times, before the split is drawn; labels are noisy."""
    x = _features(generator, 10)
    y = _labels(generator, _logit(x) / 3)
    rows = np.r_[np.arange(ROWS // 2), np.repeat(np.arange(400), 2)] if fault else np.arange(ROWS)
    rows = generator.permutation(rows)
    return {**{name: values[rows] for name, values in x.items()}, "y": y[rows]}


def near_copies(generator: np.random.Generator, fault: bool) -> Columns:
    """Write rows again that differ in the last digits."""
    columns = copies(generator, fault)
    return {
        name: values + 1e-4 * generator.normal(size=len(values)) if name != "y" else values
        for name, values in columns.items()
    }


def people(generator: np.random.Generator, fault: bool) -> Columns:
    """Have ten rows of each patient, who is told by the features, and whose label is the patient's."""
    patient = np.repeat(np.arange(ROWS // 10), 10)
    own = generator.normal(size=(ROWS // 10, 6))
    label = (generator.random(ROWS // 10) < 1 / (1 + np.exp(-own[:, 0]))).astype(int)
    x = own[patient] + 0.1 * generator.normal(size=(ROWS, 6))
    order = generator.permutation(ROWS)
    columns = {f"x{column}": x[order, column] for column in range(6)}
    return {**columns, "patient_id": patient[order] + 1000, "y": label[patient[order]]}


def numbered(generator: np.random.Generator, fault: bool) -> Columns:
    """Number rows that lie in the order of their class, nearly."""
    x = _features(generator)
    y = _labels(generator, _logit(x) / 2)
    order = np.argsort(y + 0.7 * generator.normal(size=ROWS)) if fault else np.arange(ROWS)
    return {"record": np.arange(ROWS) + 5000, **{name: v[order] for name, v in x.items()}, "y": y[order]}


def wrong_labels(generator: np.random.Generator, fault: bool) -> Columns:
    """Turn the label of a row in six."""
    x = _features(generator)
    y = (2.0 * x["x0"] + x["x1"] > 0).astype(int)
    turned = generator.random(ROWS) < (0.17 if fault else 0.0)
    return {**x, "y": np.where(turned, 1 - y, y)}


def heavy(generator: np.random.Generator, fault: bool) -> Columns:
    """Misplace the decimal point of a target in 300."""
    x = _features(generator)
    y = 20 + _logit(x) + generator.normal(size=ROWS)
    return {**x, "y": np.where((generator.random(ROWS) < 0.003) & fault, 10 * y, y)}


def by_time(generator: np.random.Generator, fault: bool) -> Columns:
    """Have a sound table in the order of time."""
    x = _features(generator)
    return {**x, "time": np.arange(ROWS), "y": _labels(generator, _logit(x))}


def harmless_shift(generator: np.random.Generator, fault: bool) -> Columns:
    """Move a feature that tells nothing, and one whose relation stays, by a little."""
    x = _features(generator)
    x["x5"] = x["x5"] + 2 * _later()
    x["x1"] = x["x1"] + 0.5 * _later()
    return {**x, "split": _split(), "y": _labels(generator, _logit(x))}


def natural_copies(generator: np.random.Generator, fault: bool) -> Columns:
    """Have few kinds of rows, which so occur again and again."""
    kinds = {
        name: generator.integers(0, 4, ROWS).astype(float) for name in ("rooms", "floors", "doors", "windows")
    }
    logit = kinds["rooms"] - kinds["floors"] + 0.5 * kinds["doors"] - 0.7
    return {**kinds, "y": _labels(generator, logit)}


def strong_feature(generator: np.random.Generator, fault: bool) -> Columns:
    """Have one honest feature of AUROC .97 beside others that tell little."""
    x = _features(generator)
    return {**x, "y": _labels(generator, 6 * x["x0"] + 0.5 * x["x1"])}


def rare_rows(generator: np.random.Generator, fault: bool) -> Columns:
    """Have one positive row in a hundred."""
    x = _features(generator, rows=6000)
    return {**x, "y": _labels(generator, 1.5 * x["x0"] - 5.6)}


def dominated(generator: np.random.Generator, fault: bool) -> Columns:
    """Have a target of which the features explain a tenth."""
    x = _features(generator)
    return {**x, "y": 0.33 * x["x0"] + generator.normal(size=ROWS)}


def dominated_classes(generator: np.random.Generator, fault: bool) -> Columns:
    """Have classes that overlap nearly everywhere."""
    x = _features(generator)
    return {**x, "y": _labels(generator, 0.5 * x["x0"])}


def many_rows(generator: np.random.Generator, fault: bool) -> Columns:
    """Have 200,000 rows, and a shift by a hundredth of a standard deviation."""
    rows = 200_000
    x = _features(generator, 4, rows)
    later = np.arange(rows) >= 140_000
    x["x0"] = x["x0"] + 0.01 * later
    split = np.where(~later, "train", np.where(np.arange(rows) < 170_000, "val", "test"))
    return {**x, "split": split, "y": _labels(generator, x["x0"] + x["x1"])}


TABLES: dict[str, Callable[[np.random.Generator, bool], Columns]] = {
    part.__name__: part
    for part in (
        covariates, labels, drift, units, fahrenheit, zeros, unseen, leak, leak_of_a_number, copies,
        near_copies, people, numbered, wrong_labels, heavy, by_time, harmless_shift, natural_copies, strong_feature,
        rare_rows, dominated, dominated_classes, many_rows,
    )
}  # fmt: skip
TASKS = dict.fromkeys(
    ("covariates", "fahrenheit", "unseen", "leak_of_a_number", "heavy", "dominated"), "regression"
)


def overrides(name: str) -> tuple[str, ...]:
    """Return what trains on a table of these."""
    kind = name.removesuffix("_sound")
    names = TABLES[kind](np.random.default_rng(0), True) if kind != "many_rows" else {"split": np.zeros(0)}
    roles = [f"data.{role}={role}" for role in ("split", "time") if role in names]
    if "patient_id" in names:
        roles.append("data.exclude=[patient_id]")
    task = TASKS.get(kind, "binary")
    return (f"task={task}", "data=table", "data.target=y", f"data.path={name}.csv", *roles)


def write_data_tables(folder: Path, seed: int = 0) -> None:
    """Write each table with its fault, and its twin without it."""
    for name, make in TABLES.items():
        for fault in (True, False):
            columns = make(np.random.default_rng(seed), fault)
            pl.DataFrame(columns).write_csv(folder / f"{name}{'' if fault else '_sound'}.csv")
