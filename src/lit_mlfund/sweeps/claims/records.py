"""Reads the runs of a sweep as evidence: their settings, and every number and curve that they wrote."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

NAMES = {"lr": "learning rate", "optim": "optimizer"}
Setting = tuple[str, ...]  # one value, as text, for each of the compared keys


@dataclass(frozen=True)
class Record:
    """Holds one run: its overrides, and the contents of its `metrics.json`, empty where it wrote none."""

    overrides: dict[str, str]
    failed: bool
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float = math.nan
    run: str | None = None

    @property
    def seed(self) -> str:
        return self.overrides.get("seed", "0")

    def value(self, name: str) -> float:
        """Return a number of the run by name; NaN where it has none.

        Names are `test/mae`, `val/…` and `train/…` at the measured checkpoint; `test/confidence` (mean probability of
        the predicted class); `objective` (the monitored value); entries of `numbers`, such as `weights/norm`;
        `last/…`, `best/…` (lowest) and `max/…` of the values logged by step or by epoch; `failed`; `seconds`; and a
        difference `a - b` of two of them.
        """
        if " - " in name:
            first, _, second = name.partition(" - ")
            return self.value(first) - self.value(second)
        if name == "failed":
            return float(self.failed)
        if name == "seconds":
            return self.seconds
        if name == "objective":
            return self._objective()
        split, _, metric = name.partition("/")
        if split in ("last", "best", "max"):
            values = [value for value in self.curve(metric)[1] if split == "last" or not math.isnan(value)]
            if not values:
                return math.nan
            return {"last": values[-1], "best": min(values), "max": max(values)}[split]
        if metric == "confidence" and self.run is not None:
            return _confidence(Path(self.run, "predictions", f"{split}.parquet"))
        if metric in self.metrics.get("splits", {}).get(split, {}):
            return _number(self.metrics["splits"][split][metric]["value"])
        return _number(self.metrics.get("numbers", {}).get(name))

    def _objective(self) -> float:
        """Return the monitored value at the measured checkpoint, or the best of the training (for `val/loss`)."""
        objective = self.metrics.get("objective", {})
        split, _, metric = objective.get("name", "").partition("/")
        measured = self.metrics.get("splits", {}).get(split, {}).get(metric)
        return _number((measured or objective).get("value"))

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Return steps and values that were logged every few steps or else every epoch."""
        for log in ("steps", "history"):
            entries = [entry for entry in self.metrics.get(log, []) if name in entry]
            if entries:
                return [entry["step"] for entry in entries], [_number(entry[name]) for entry in entries]
        return [], []


def read_records(sweep_dir: Path) -> list[Record]:
    """Read the runs of a sweep in the order of its jobs."""
    files = sorted((sweep_dir / "jobs").glob("[0-9]*.json"), key=lambda file: int(file.stem))
    return [_record(json.loads(file.read_text())) for file in files]


def _record(job: dict[str, Any]) -> Record:
    overrides = dict(line.lstrip("+~").partition("=")[::2] for line in job["overrides"])
    file = Path(job["run"] or "", "metrics.json")
    metrics = json.loads(file.read_text()) if job["run"] and file.exists() else {}
    failed = job["status"] != "done"
    return Record(overrides, failed, metrics, _number(job.get("seconds")), job["run"])


class Evidence:
    """Groups records by setting and seed.

    Args:
        records: the records of one sweep.
        compare: the overridden keys whose values are compared with each other.
        choose: a key whose best value on validation is chosen for each setting: the best mean over seeds of the
            monitored value. A value with a failed run is never chosen, unless all values have one.
        labels: readable names of keys (`optim.lr`) and of settings (`callbacks=none`).
    """

    def __init__(
        self,
        records: list[Record],
        compare: list[str],
        choose: str | None = None,
        labels: dict[str, str] | None = None,
    ):
        self.all_records = records
        self.compare = [key for key in compare if key != choose]
        self.labels = labels or {}
        self.chosen: dict[Setting, str] = {}
        groups: dict[Setting, list[Record]] = {}
        for record in records:
            groups.setdefault(self.setting(record), []).append(record)
        if choose is not None:
            for setting, group in groups.items():
                self.chosen[setting] = best = _best(group, choose)
                groups[setting] = [record for record in group if record.overrides.get(choose) == best]
        self.groups = groups
        self.seeds = list(dict.fromkeys(record.seed for record in records))

    def setting(self, record: Record) -> Setting:
        return tuple(record.overrides.get(key, "") for key in self.compare)

    def levels(self, key: str) -> list[str]:
        """Return the values of a key in the order in which they were swept."""
        return list(dict.fromkeys(record.overrides.get(key, "") for record in self.all_records))

    def matching(self, wanted: dict[str, str]) -> list[Setting]:
        """Return the settings with these values of some of the keys."""
        parts = {self.compare.index(key): value for key, value in wanted.items()}
        return [s for s in self.groups if all(_same(s[part], value) for part, value in parts.items())]

    def by_seed(self, settings: list[Setting], name: str) -> dict[str, float]:
        """Map each seed to the mean over `settings` of a number of its runs; NaN where a run has none."""
        by_seed: dict[str, list[float]] = {}
        for setting in settings:
            for record in self.groups[setting]:
                by_seed.setdefault(record.seed, []).append(record.value(name))
        return {seed: sum(values) / len(values) for seed, values in by_seed.items()}

    def numbers(self, setting: Setting, name: str) -> list[float]:
        """Return a number of each run of a setting that has it."""
        values = [record.value(name) for record in self.groups[setting]]
        return [value for value in values if math.isfinite(value)]

    def key_label(self, key: str) -> str:
        """Return a readable name of a key, such as `weight decay` for `optim.weight_decay`."""
        last = key.rpartition(".")[2]
        return self.labels.get(key) or NAMES.get(last) or last.replace("_", " ")

    def label(self, setting: Setting, without: tuple[str, ...] = ()) -> str:
        """Describe a setting in words: `huber, dropout 0.1`."""
        parts = [(key, value) for key, value in zip(self.compare, setting) if key not in without]
        return ", ".join(self.value_label(key, value) for key, value in parts)

    def value_label(self, key: str, value: str) -> str:
        """Describe a value in words, with its key where it is a number."""
        label = self.labels.get(f"{key}={value}")
        if label is not None:
            return label
        try:
            float(value)
        except ValueError:
            return value.replace("_", " ")
        return f"{self.key_label(key)} {value}"


def _best(records: list[Record], key: str) -> str:
    maximum = any(record.metrics.get("objective", {}).get("mode") == "max" for record in records)
    means: dict[str, float] = {}
    for value in dict.fromkeys(record.overrides.get(key, "") for record in records):
        group = [record for record in records if record.overrides.get(key, "") == value]
        done = [record.value("objective") for record in group if not record.failed]
        mean = sum(done) / len(done) if len(done) == len(group) else math.nan
        means[value] = (mean if maximum else -mean) if math.isfinite(mean) else -math.inf
    return max(means, key=lambda value: means[value])


def _confidence(predictions: Path) -> float:
    """Return the mean over rows of the largest class probability; NaN where no classes were predicted."""
    if not predictions.exists():
        return math.nan
    table = pl.read_parquet(predictions, glob=False)
    if "probability" in table.columns:  # binary: the probability of the positive class
        return float(abs(table["probability"].to_numpy() - 0.5).mean()) + 0.5
    columns = [name for name in table.columns if name.startswith("probability_")]
    return float(table.select(columns).to_numpy().max(axis=1).mean()) if columns else math.nan


def _same(first: str, second: str) -> bool:
    """Check whether two texts are the same value: 1e-3 equals 0.001."""
    try:
        return first == second or float(first) == float(second)
    except ValueError:
        return False


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
