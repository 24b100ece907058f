"""Reads a table of the user."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from lit_mlfund.data.disk.cached_table import CachedTable, TableRequest, cache_root, cached_table
from lit_mlfund.data.parsing.options import Parsing
from lit_mlfund.data.preprocessing.table_encoder import Roles, check_queries
from lit_mlfund.data.preprocessing.target import Target, infer_task
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.reading.frames import Source, is_frame, name_of
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.reader import TableReader
from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.reading.split import split_by_column, split_table
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.spec import Task
from lit_mlfund.datamodules.frame import FrameDataModule


class TableDataModule(FrameDataModule):
    """Reads a Parquet, CSV or Arrow file whose rows are examples, or documents of queries (ranking).

    Validation and test are the rows marked in the column `split`, or separate files, or are cut off from `path`: the
    latest rows by `time`; whole groups or queries; else rows at random, stratified by class. `split_seed` is separate
    from `seed`, so that runs with different seeds are evaluated on the same rows.

    Args:
        path: the file, or a polars or pandas frame.
        target: the column to predict.
        task: binary, multiclass, regression or ranking; None infers it from `query` or the values of the target.
        batch_size: rows (queries for ranking) in a training batch; None follows their number (`Budget`).
        seed: seed of the training order.
        query: the column that identifies the rows of one list; given if and only if the task is ranking.
        time: a column of dates or numbers; validation and test come after training.
        group: a column whose equal values stay in one split, such as a user; it is not a feature.
        weight: a column of weights for loss and metrics.
        split: a column with train, val or test for each row.
        val_path, test_path: separate files, or frames, for these splits.
        val_fraction, test_fraction: fractions of the rows that are cut off for them otherwise.
        split_seed: seed of a random split.
        positive: the label that is encoded as 1 (binary); by default the alphabetically later one.
        categorical: columns whose numbers are codes.
        exclude: columns that are not features.
        min_count: categories that occur less often in training are treated as unknown.
        per_query: treatment of the numeric features of a ranking: `none` leaves them, `replace` standardises them
            within their query, `append` adds the standardised ones to them.
        encoding: encoding of a text file, such as `latin-1`. None infers this and the next six.
        separator: separator of its cells: comma, semicolon, tab, pipe or space.
        header: the line of the column names, counted from 1; 0 for a file without them.
        missing: cells that mean a missing value, instead of NA, N/A, NaN, NULL, None and `?`.
        decimal: the decimal mark: comma or point.
        thousands: the thousands separator: comma, point, space or apostrophe.
        date_format: format of dates for strptime, of all columns or by column.
        missing_target: `drop` leaves out rows without a target and counts them; `error` refuses them.
        cache: a folder for the encoded rows, which are read from it in pieces as needed: for tables larger than
            memory. `auto` uses one in the user's cache folder if the files have 512 MiB or more; None holds the table
            in memory. The splits are the same either way.
    """

    tasks: tuple[str, ...] = ("binary", "multiclass", "regression", "ranking")

    def __init__(
        self,
        path: Source,
        *,
        target: str,
        task: str | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        query: str | None = None,
        time: str | None = None,
        group: str | None = None,
        weight: str | None = None,
        split: str | None = None,
        val_path: Source | None = None,
        test_path: Source | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        positive: str | None = None,
        categorical: Sequence[str] = (),
        exclude: Sequence[str] = (),
        min_count: int = 5,
        per_query: Literal["none", "replace", "append"] = "none",
        cache: str | None = "auto",
        encoding: str | None = None,
        separator: str | None = None,
        header: int | None = None,
        missing: Sequence[str] | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        date_format: str | dict[str, str] | None = None,
        missing_target: Literal["error", "drop"] = "error",
    ) -> None:
        parsing = Parsing.of(encoding, separator, header, missing, decimal, thousands, date_format)
        if missing_target not in ("error", "drop"):
            raise ValueError(f"data.missing_target must be error or drop, got {missing_target!r}")
        self.missing_target = missing_target
        self.reader = TableReader(parsing, {*exclude, *categorical}, never_codes={target})
        if task is None:
            task = "ranking" if query is not None else self.infer_task(path, target)
        if task not in self.tasks:
            raise ValueError(f"data=table serves {', '.join(self.tasks)}; got task={task}")
        if query is not None and group is not None:
            raise ValueError("data.query keeps its rows in one split already; data.group cannot be given too")
        others = {"time": time, "group": group, "val_path": val_path, "test_path": test_path}
        if split is not None and (conflicts := [name for name, value in others.items() if value is not None]):
            keys = ", ".join(f"data.{name}" for name in conflicts)
            raise ValueError(
                f"data.split says which rows are validation and test; {keys} cannot be given too"
            )
        roles = Roles(
            cast(Task, task),
            target,
            query=query,
            weight=weight,
            time=time,
            exclude=(*exclude, *([group] if group else []), *([split] if split else [])),
            categorical=tuple(categorical),
        )
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            roles=roles,
            positive=positive,
            min_count=min_count,
            per_query=per_query,
        )
        labels = target if task in ("binary", "multiclass") else None
        untouched = {labels, query, group, split, *exclude, *categorical}
        numbers = {target, weight}
        self.reader = TableReader(parsing, untouched, numbers, self.typed_columns(), {*numbers, time})
        self.path = path
        self.group, self.split = group, split
        self.split_paths = {"val": val_path, "test": test_path}
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.split_seed = split_seed
        self.cache = cache
        self.split_columns = tuple(name for name in (group, split) if name is not None)
        by_files = split is not None or val_path is not None or test_path is not None
        self.split_by = "files" if by_files else "time" if time else "group" if query or group else "rows"

    def infer_task(self, path: Source, target: str) -> Task:
        """Infer the task from the values of the target; raise ValueError where they are ambiguous."""
        table = self.read_file(path)
        require_columns(table.frame, [target], table.source)
        return infer_task(table, target)

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if recognised := self.reader.state():
            self.summary["reading"] = recognised

    def build(self) -> None:
        split_files = {split: path for split, path in self.split_paths.items() if path is not None}
        root = cache_root(self.cache, [self.path, *split_files.values()])
        if root is None:
            return super().build()
        request = TableRequest(
            self.path,
            split_files,
            {split: share for split, share in self.fractions.items() if split not in split_files},
            self.split_seed,
            self.group,
            self.split,
            self.roles,
            self.positive,
            self.min_count,
            self.per_query,
            self.reader.options,
            self.missing_target,
        )
        cached = cached_table(request, root, self.watch, self.reader, self.encoder)
        self.encoder, self.stores = cached.encoder, dict(cached.stores)
        self.spec = cached.encoder.spec(len(cached.stores["train"]))
        self.summary = self._summarize_cached(cached)

    def read(self) -> dict[str, Table]:
        roles = self.roles
        for path in (self.path, *self.split_paths.values()):
            if path is not None and not is_frame(path) and os.path.isfile(path):
                self.watch.add(Signature.of(path))
        table = self.labelled(self.read_file(self.path))
        columns = [*roles.required(True), roles.time, *roles.exclude, *roles.categorical]
        require_columns(table.frame, columns, table.source)
        if roles.query is not None:
            check_queries(table, roles.query)
        # fitted on the whole file only for its errors, which then name rows of the file
        Target.fit(table, roles.target, roles.task, self.positive)
        self.remarks = [*self._describe_split(), *self.reader.remarks, *self._describe_dropped(self.notes)]
        if self.split is not None:
            return split_by_column(table, self.split, roles.query)
        tables = split_table(
            table,
            {split: self.fractions[split] for split, path in self.split_paths.items() if path is None},
            seed=self.split_seed,
            time=roles.time,
            group=roles.query or self.group,
            classes=roles.target if roles.task in ("binary", "multiclass") else None,
        )
        for split, path in self.split_paths.items():
            if path is not None:
                tables[split] = self.labelled(self.read_file(path))
        return tables

    def read_file(self, path: Source) -> Table:
        return self.reader.read(path)

    def scan_file(self, path: Source) -> Scan | None:
        return self.reader.scan_large(path, self.row_cells())

    def typed_columns(self) -> set[str | None] | None:
        """Return the columns whose text may spell numbers or dates; None stands for all."""
        return None

    def labelled(self, table: Table) -> Table:
        if self.missing_target == "error":
            return table
        require_columns(table.frame, [self.roles.target], table.source)
        kept = table.drop_missing(self.roles.target)
        if not len(kept):
            raise DataError(
                f"{table.source}: column {self.roles.target!r}: the target is missing in all rows"
            )
        self.notes["rows_without_target"] = len(table) - len(kept)
        return kept

    def labelled_scan(self, scan: Scan) -> Scan:
        if self.missing_target == "error":
            return scan
        require_columns(scan.schema.to_frame(), [self.roles.target], scan.path)
        self.notes["rows_without_target"] = scan.count_missing(self.roles.target)
        return replace(scan, present=self.roles.target)

    def preprocessing(self) -> dict[str, Any]:
        return {**super().preprocessing(), "reading": self.reader.state()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        if "reading" in state:  # earlier versions read each file as it was
            self.reader.restore(state["reading"])

    def row_cells(self) -> int:
        """Return the size of an encoded row in cells of 8 bytes, if that is more than its columns; else 0."""
        return 0

    def _describe_split(self) -> list[str]:
        cut = ", ".join(split for split, path in self.split_paths.items() if path is None)
        group = self.roles.query or self.group
        if self.split is not None:
            return [f"train, val, test: as the column {self.split!r} of {name_of(self.path)} says"]
        if cut and self.roles.time is not None:
            return [f"{cut}: the latest rows of {name_of(self.path)} by {self.roles.time!r}"]
        if cut and group:
            return [
                f"{cut}: drawn from {name_of(self.path)} (split_seed {self.split_seed}), {group!r} kept together"
            ]
        drawn = f"{cut}: drawn from {name_of(self.path)} at random (split_seed {self.split_seed})"
        return [drawn] if cut else []

    def _describe_dropped(self, counts: Mapping[str, int | str]) -> list[str]:
        count = counts.get("rows_without_target", 0)
        return [f"rows: {count:,} without a target left out of {name_of(self.path)}"] if count else []

    def _summarize_cached(self, cached: CachedTable) -> dict[str, Any]:
        splits = cached.content["splits"]
        target = cached.encoder.target
        distribution: dict[str, Any]
        if target.classes:
            distribution = {"classes": dict(zip(target.classes, splits["train"]["classes"]))}
        elif self.roles.query is not None:
            distribution = {"grades": splits["train"]["grades"]}
        else:
            distribution = {"mean": target.mean, "std": target.std}
        lists = {
            "queries": {split: part["queries"] for split, part in splits.items()},
            "longest_list": {split: part["longest"] for split, part in splits.items()},
        }
        return {
            "rows": {split: part["rows"] for split, part in splits.items()},
            **(lists if self.roles.query is not None else {}),
            "columns": self.describe_columns(cached.content["boolean"]),
            "imputed_cells": {split: part["imputed"] for split, part in splits.items() if part["imputed"]},
            "unknown_categories": {
                split: part["unknown"] for split, part in splits.items() if part["unknown"]
            },
            "target": {"column": target.name, **distribution},
            "notes": [
                *self._describe_split(),
                *self.reader.remarks,
                *self._describe_dropped(cached.content),
                *cached.notes,
            ],
        }
