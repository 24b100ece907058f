"""Provides interactions, to predict a user's next item from the user's features and earlier items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_mlfund.data.parsing.options import Parsing
from lit_mlfund.data.preprocessing.history import STAGES, History, SeenItems
from lit_mlfund.data.preprocessing.interactions import Entities, InteractionStore, timestamps_of
from lit_mlfund.data.reading import scan
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.reading.frames import Source, is_frame, name_of
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.reader import TableReader
from lit_mlfund.data.reading.split import Splits, split_by_time, split_last
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.datamodules.retrieval import NEW, RetrievalDataModule, placeholder_item_ids
from lit_mlfund.datamodules.summarize_interactions import note_repeats, summarize


class InteractionsDataModule(RetrievalDataModule):
    """Pairs users and their earlier items (queries) with the next item: its id and side features.

    Each row of the file is a positive pair. `history` holds the user's items strictly before the time of that row, in
    any split, as ids that equal the item's own code (column 0 of its `categorical`). The corpus is every item of the
    file and of `items_path`. A new file needs the user column, and the item column to be evaluated; without the time
    column its rows come after all training interactions.

    Args:
        path: table of interactions, one per row: a file, or a polars or pandas frame.
        user, item, time: its columns; without `time` the rows are in order of time.
        users_path, items_path: side tables, joined on the user and item column; all their other columns are features.
        split: `time`: the latest interactions overall are the test split, those before them validation;
            `last`: for each user with three or more, the last interaction is test, the one before it validation.
        history_length: number of most recent earlier items in a query.
        log_q: give the log of each item's share of the training pairs to the loss, which corrects for popular
            items being negatives more often (Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling").
        exclude_seen: leave items that the user took before (see `History.seen`) out of the search: of metrics,
            references and predictions. A query whose own item is among them counts as a miss.
        min_count: categories of side tables that occur less often are treated as unknown.
        categorical: columns of side tables whose numbers are codes.
        encoding, separator, header, missing, decimal, thousands, date_format: of text files, as in
            `TableDataModule`.
    """

    inputs = ("categorical", "numeric", "tokens")

    def __init__(
        self,
        path: Source,
        *,
        user: str,
        item: str,
        time: str | None = None,
        users_path: Source | None = None,
        items_path: Source | None = None,
        batch_size: int = 512,
        seed: int = 0,
        split: Literal["time", "last"] = "time",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        history_length: int = 50,
        log_q: bool = True,
        exclude_seen: bool = True,
        min_count: int = 5,
        categorical: list[str] | None = None,
        encoding: str | None = None,
        separator: str | None = None,
        header: int | None = None,
        missing: Sequence[str] | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        date_format: str | dict[str, str] | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed)
        if history_length < 1:
            raise ValueError(f"history_length must be at least 1, got {history_length}")
        if split not in ("time", "last"):
            raise ValueError(f"split must be time or last, got {split!r}")
        self.path, self.user, self.item, self.time = path, user, item, time
        self.users_path, self.items_path = users_path, items_path
        self.split = split
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.history_length = history_length
        self.log_q = log_q
        self.exclude_seen = exclude_seen
        self.min_count = min_count
        self.categorical = tuple(categorical or ())
        self.parsing = Parsing.of(encoding, separator, header, missing, decimal, thousands, date_format)
        self.reader = TableReader(self.parsing, only={time})
        self.remarks: list[str] = []  # what was recognised in the files
        self.users: Entities | None = None
        self.items: Entities | None = None
        self.history: History | None = None
        self.counts: NDArray[np.int64] | None = None  # occurrences of each item in train
        self._seen: dict[str, list[Tensor]] = {}
        self._new_items: tuple[str, ...] = ()

    def build(self) -> None:
        for path in (self.path, self.users_path, self.items_path):
            if path is not None and not is_frame(path):
                self.watch.add(Signature.of(path))
        table = self._checked_table(self.reader.read(self.path))
        self.remarks = list(self.reader.remarks)
        times = self._times(table)
        splits = self._splits(table, times)
        if self.users is None or self.items is None:
            self.users = self._entities(table, self.user, splits["train"], self.users_path)
            self.items = self._entities(table, self.item, splits["train"], self.items_path)
        user, item = self.users.rows(table.labels(self.user)), self.items.rows(table.labels(self.item))
        if (item == len(self.items.names)).any():
            raise table.error(self.item, "an item unknown to training", item == len(self.items.names))
        stage = np.zeros(len(times), np.int8)
        for name, rows in splits.items():
            stage[rows] = STAGES[name]
        self.history = History.of(user, item, times, stage)
        self.counts = np.bincount(item[splits["train"]], minlength=len(self.items.names))
        repeats: dict[str, int] = {}
        for name, rows in splits.items():
            self.stores[name] = self._store(self.history, user[rows], item[rows], times[rows], rows)
            if name != "train":
                seen = self.history.seen(user[rows], times[rows], STAGES[name])
                self._seen[name] = seen.of(slice(None))
                repeats[name] = seen.count(item[rows])
        history = Field("tokens", (self.history_length,), cardinalities=(self.items.num_known + 1,))
        self.spec = DataSpec(
            task="retrieval",
            inputs={**self.users.fields, "history": history},
            items=self.items.fields,
            target=self.item,
            num_items=len(self.items.names),
            num_train=len(splits["train"]),
        )
        self.summary = summarize(splits, (self.users, user), (self.items, item))
        how = "the latest interactions of all" if self.split == "time" else "the last two of each user"
        order = [] if self.time else ["no time: order of the rows"]
        self.summary["notes"] = [f"validation and test are {how}", *order, *self.remarks]
        if self.exclude_seen:
            self.summary["notes"] += note_repeats(repeats)

    def preprocessing(self) -> dict[str, Any]:
        assert self.users is not None and self.items is not None
        assert self.history is not None and self.counts is not None
        return {
            "users": self.users.to_dict(),
            "items": self.items.to_dict(),
            "history": self.history.to_dict(),
            "counts": self.counts.tolist(),
            "reading": self.reader.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.users = Entities.from_dict(state["users"])
        self.items = Entities.from_dict(state["items"])
        self.history = History.from_dict(state["history"])
        self.counts = np.array(state["counts"], dtype=np.int64)
        if "reading" in state:  # earlier versions read each file as it was
            self.reader.restore(state["reading"])

    def new_loader(self, path: Source, need_target: bool) -> tuple[BatchLoader, pl.DataFrame]:
        table = self._checked_table(self.reader.read(path), need_target)
        store, seen = self._new_store([table], need_target)
        self._seen[NEW] = seen.of(slice(None))
        return self.serve_pairs(store), table.frame

    def new_pieces(self, path: Source, need_target: bool) -> Iterator[tuple[BatchLoader, pl.DataFrame]]:
        file = self.reader.scan_large(path)
        if file is None:
            yield self.new_loader(path, need_target)
            return
        pieces = file.pieces([self.user, self.time, *([self.item] if need_target else [])])
        tables = (self._checked_table(piece, need_target) for piece in pieces)
        store, seen = self._new_store(tables, need_target)
        for start in range(0, len(store), scan.MAX_ROWS):
            part = slice(start, start + scan.MAX_ROWS)
            self._seen[NEW] = seen.of(part)
            subset = store.subset(part)
            yield self.serve_pairs(subset), pl.DataFrame({"row": subset.index})

    def _new_store(self, pieces: Iterable[Table], need_target: bool) -> tuple[InteractionStore, SeenItems]:
        """Return all rows of a new file, keeping a few numbers per row, and what their users took before."""
        assert self.users is not None and self.items is not None and self.history is not None
        num_known, new = len(self.items.names), dict[str, int]()
        parts = []
        for table in pieces:
            user, item = self.users.rows(table.labels(self.user)), placeholder_item_ids(len(table)).numpy()
            times = np.full(len(table), np.inf)
            if need_target or (self.time is not None and self.time in table.frame.columns):
                times = self._times(table, after=self.history.moment.max())
            if need_target:
                labels = table.labels(self.item)
                item = self.items.rows(labels)
                unknown = item == num_known
                item[unknown] = [
                    num_known + new.setdefault(label, len(new)) for label in labels.filter(unknown)
                ]
            parts.append((user, item, times))
        user, item, times = (np.concatenate(arrays) for arrays in zip(*parts))
        self._new_items = tuple(new)
        history, known_user = self.history, user < len(self.users.names)
        if need_target:
            stage = np.full(int(known_user.sum()), STAGES[NEW], np.int8)
            history = history.join(History.of(user[known_user], item[known_user], times[known_user], stage))
        self.notes = {
            "unknown_users": int((~known_user).sum()),
            "unknown_items": int((item >= num_known).sum()),
        }
        store = self._store(history, user, item, times, np.arange(len(user)), len(new))
        return store, history.seen(user, times, STAGES[NEW])

    def item_names(self, split: str) -> Sequence[str]:
        assert self.items is not None
        return (*self.items.names, *self._new_items) if split == NEW else self.items.names

    def seen(self, split: str) -> list[Tensor] | None:
        return self._seen[split] if self.exclude_seen else None

    def popularity(self, split: str) -> Tensor:
        counts = torch.as_tensor(self.counts)
        return torch.cat([counts, counts.new_zeros(len(self._new_items))]) if split == NEW else counts

    def _checked_table(self, table: Table, labelled: bool = True) -> Table:
        ids = [self.user, *([self.item] if labelled else [])]
        require_columns(table.frame, [*ids, self.time if labelled else None], table.source)
        for column in ids:
            missing = table.labels(column).is_null()
            if missing.any():
                raise table.error(column, "the id is missing", missing)
        return table

    def _entities(
        self, table: Table, column: str, train: NDArray[np.int64], side_path: Source | None
    ) -> Entities:
        side = None
        if side_path is not None:
            reader = TableReader(self.parsing, {column, *self.categorical})
            side = reader.read(side_path)
            self.remarks += [f"{name_of(side_path)}: {remark}" for remark in reader.remarks]
        categorical = (
            () if side is None else [name for name in self.categorical if name in side.frame.columns]
        )
        return Entities.fit(table, column, train, side, min_count=self.min_count, categorical=categorical)

    def _times(self, table: Table, after: float = -1.0) -> NDArray[np.float64]:
        if self.time is not None:
            return timestamps_of(table, self.time)
        return after + 1 + table.rows.astype(np.float64)

    def _splits(self, table: Table, times: NDArray[np.float64]) -> Splits:
        if self.split == "time":
            return split_by_time(times, self.fractions)
        splits = split_last(table.codes(self.user), times)
        if not len(splits["test"]):
            raise DataError(
                f"{name_of(self.path)}: data.split=last needs users with three interactions or more"
            )
        return splits

    def _store(
        self,
        history: History,
        user: NDArray[np.int64],
        item: NDArray[np.int64],
        times: NDArray[np.float64],
        rows: NDArray[np.int64],
        num_new: int = 0,
    ) -> InteractionStore:
        """Return the pairs of a split; `num_new` items follow the known ones."""
        assert self.users is not None and self.items is not None and self.counts is not None
        past = history.restrict(self.items.num_known)
        first, last = past.before(user, times)
        # The known items are followed, for each new one, by the row of the unknown item.
        size = len(self.items.names)
        item_row = torch.arange(size + num_new).clamp(max=size)
        share = np.maximum(np.append(self.counts, 0), 1) / self.counts.sum()
        return InteractionStore(
            query=self.users.inputs,
            item={name: values[item_row] for name, values in self.items.inputs.items()},
            query_row=torch.from_numpy(user),
            item_id=torch.from_numpy(item),
            query_id=torch.arange(len(rows)),
            log_q=torch.from_numpy(np.log(share)).float()[item_row] if self.log_q else None,
            index=torch.from_numpy(rows),
            timeline=torch.from_numpy(np.append(past.item + 1, 0).astype(np.int32)),
            first=torch.from_numpy(first),
            last=torch.from_numpy(last),
            history_length=self.history_length,
        )
