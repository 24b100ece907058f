"""Turns tables into batches, for all data modules whose examples are rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import polars as pl

from lit_mlfund.data.preprocessing.features import Encoded
from lit_mlfund.data.preprocessing.novel_categories import Cells, novel_categories
from lit_mlfund.data.preprocessing.table_encoder import Encoder, Roles, zero_weights_error
from lit_mlfund.data.reading.frames import Source, name_of
from lit_mlfund.data.reading.scan import Scan, lists_are_contiguous, whole_lists
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.sampling import sampled_rows
from lit_mlfund.data.serving.store import ListStore, PointStore, Store
from lit_mlfund.datamodules.base import DataModule


class FrameDataModule(DataModule):
    """Serves rows with a target: each an example of its own or, for ranking, a document of a query.

    A subclass implements `read`.

    Args:
        batch_size: rows (queries for ranking) in a training batch; None follows their number (`Budget`).
        seed: seed of the training order.
        roles: roles of the columns.
        positive: the label that is encoded as 1 (binary).
        min_count: categories that occur less often in training are treated as unknown.
        per_query: `none`, `replace` or `append`: numeric features relative to their query (ranking).
    """

    inputs: tuple[str, ...] = ("numeric", "categorical")
    split_columns: tuple[str, ...] = ()  # that the splits follow, or keep together
    group: str | None = None  # the one of which equal values are kept together
    encoder_type: type[Encoder] = Encoder

    def __init__(
        self,
        *,
        batch_size: int | None,
        seed: int = 0,
        roles: Roles,
        positive: str | None = None,
        min_count: int = 5,
        per_query: str = "none",
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed)
        self.roles = roles
        self.positive = positive
        self.min_count = min_count
        self.per_query = per_query
        self.remarks: list[str] = []  # by `read`, for the notes of the summary
        self.encoder: Encoder | None = None
        self.samples: dict[str, Table] = {}  # rows of each split as they stand in the file, for the doctor

    @property
    def fitted(self) -> Encoder:
        """Return the encoder; raise RuntimeError before it has been fitted or restored."""
        if self.encoder is None:
            raise RuntimeError("nothing is fitted yet: call setup() or load_state_dict() first")
        return self.encoder

    def read(self) -> dict[str, Table]:
        """Return the rows of each split."""
        raise NotImplementedError

    def read_file(self, path: Source) -> Table:
        """Read a file of the user, for any split or for prediction."""
        return Table.read(path)

    def labelled(self, table: Table) -> Table:
        """Return the rows of a table that can be trained on or evaluated; `notes` count the others."""
        return table

    def build(self) -> None:
        tables = self.read()
        encoder = self.encoder or Encoder.fit(
            tables["train"],
            self.roles,
            positive=self.positive,
            min_count=self.min_count,
            per_query=self.per_query,
        )
        stores, encoded = _encode(tables, encoder)
        if self.encoder is None:
            cells = {
                split: Cells(len(tables[split]), part.known, part.unknown) for split, part in encoded.items()
            }
            if novel := novel_categories(cells, lambda columns: tables.items()):
                encoder = encoder.without(novel, tables["train"].source)
                stores, encoded = _encode(tables, encoder)
        self.encoder, self.stores = encoder, stores
        self.spec = encoder.spec(len(stores["train"]))
        self.summary = self._summarize(tables, encoded)
        if self.roles.query is None:
            self.samples = {
                split: table.take(sampled_rows(split, len(table)), split) for split, table in tables.items()
            }

    def preprocessing(self) -> dict[str, Any]:
        return self.fitted.to_dict()

    def restore(self, state: dict[str, Any]) -> None:
        self.encoder = self.encoder_type.from_dict(state)

    def new_loader(self, path: Source, need_target: bool) -> tuple[BatchLoader, pl.DataFrame]:
        self.notes = {}
        table = self.read_file(path)
        if need_target:
            table = self.labelled(table)
        store, encoded = self.fitted.store(table, labelled=need_target)
        self._set_notes(encoded.unknown, encoded.imputed)
        return self.serve(store), table.frame

    def scan_file(self, path: Source) -> Scan | None:
        """Open a new file for reading in pieces; return None for one that is read as a whole."""
        return None

    def labelled_scan(self, scan: Scan) -> Scan:
        """Return a scan that yields only rows that `labelled` keeps."""
        return scan

    def new_pieces(self, path: Source, need_target: bool) -> Iterator[tuple[BatchLoader, pl.DataFrame]]:
        scan, roles, encoder = self.scan_file(path), self.roles, self.fitted
        if scan is None or not (roles.query is None or lists_are_contiguous(scan, roles.query)):
            yield self.new_loader(path, need_target)
            return
        # evaluation needs features and roles only; predictions are written beside all columns
        columns = [*encoder.features.columns, *roles.required(True)] if need_target else None
        self.notes = {}
        scan = self.labelled_scan(scan) if need_target else scan
        pieces = scan.pieces(columns)
        unknown, imputed, any_weight = Counter[str](), Counter[str](), roles.weight is None or not need_target
        for piece in pieces if roles.query is None else whole_lists(pieces, roles.query):
            store, encoded = encoder.store(piece, labelled=need_target, part=True)
            unknown.update(encoded.unknown)
            imputed.update(encoded.imputed)
            any_weight = any_weight or store.weight is None or bool(store.weight.any())
            yield self.serve(store), piece.frame
        self._set_notes(unknown, imputed)
        if not any_weight:
            raise zero_weights_error(name_of(path), roles.weight)

    def _set_notes(self, unknown: Mapping[str, int], imputed: Mapping[str, int]) -> None:
        self.notes |= {
            "unknown_categories": sum(unknown.values()),
            "imputed_cells": sum(imputed.values()),
            **{f"unknown_categories.{name}": count for name, count in unknown.items()},
            **{f"imputed_cells.{name}": count for name, count in imputed.items()},
        }

    def _summarize(self, tables: dict[str, Table], encoded: dict[str, Encoded]) -> dict[str, Any]:
        features = self.fitted.features
        types = tables["train"].frame.schema
        summary: dict[str, Any] = {"rows": {split: len(table) for split, table in tables.items()}}
        if self.roles.query is not None:
            summary["queries"] = {split: len(store) for split, store in self.stores.items()}
            longest = {
                split: int(s.lengths.max()) for split, s in self.stores.items() if isinstance(s, ListStore)
            }
            summary["longest_list"] = longest
        summary["columns"] = self.describe_columns({n for n in features.source if types[n] == pl.Boolean})
        summary["imputed_cells"] = {split: part.imputed for split, part in encoded.items() if part.imputed}
        summary["unknown_categories"] = {
            split: part.unknown for split, part in encoded.items() if part.unknown
        }
        summary["target"] = {"column": self.roles.target, **self._describe_target()}
        summary["notes"] = list(self.remarks)
        return summary

    def describe_columns(self, boolean: Collection[str]) -> dict[str, Any]:
        """Return the columns by kind; `boolean` names those with truth values."""
        features = self.fitted.features
        return {
            "numeric": [name for name in features.source if name not in boolean],
            "boolean": [name for name in features.source if name in boolean],
            "categorical": {column.name: len(column.vocabulary) for column in features.categorical},
            "date": [date.name for date in features.dates],
            "dropped": dict(features.dropped),
        }

    def _describe_target(self) -> dict[str, Any]:
        """Return rows per class or grade, or mean and standard deviation, of the training split."""
        store, target = self.stores["train"], self.fitted.target
        if isinstance(store, ListStore):
            grades, counts = store.relevance.unique(return_counts=True)
            return {"grades": {f"{grade:g}": count for grade, count in zip(grades.tolist(), counts.tolist())}}
        if target.classes and isinstance(store, PointStore):
            counts = store.y.long().bincount(minlength=len(target.classes)).tolist()
            return {"classes": dict(zip(target.classes, counts))}
        return {"mean": target.mean, "std": target.std}


def _encode(tables: dict[str, Table], encoder: Encoder) -> tuple[dict[str, Store], dict[str, Encoded]]:
    """Return the store of each split, and what was counted while it was encoded."""
    pairs = {split: encoder.store(table) for split, table in tables.items()}
    return {split: pair[0] for split, pair in pairs.items()}, {
        split: pair[1] for split, pair in pairs.items()
    }
