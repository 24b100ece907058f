"""Provides docstrings of Python's own standard library as queries for their functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from lit_mlfund.data.preprocessing.text import TextPairStore
from lit_mlfund.data.preprocessing.tokenize import Tokenizer
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.split import split_by_group
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.data.sources.docstrings import Function, standard_library
from lit_mlfund.datamodules.retrieval import NEW, RetrievalDataModule, placeholder_item_ids


class DocstringsDataModule(RetrievalDataModule):
    """Pairs docstrings (queries) with the code of their functions (items), from which the docstring is removed.

    The pairs come from the running interpreter's standard library and are split by file: no function of a
    validation or test file is trained on, and each split is searched through all of its own functions.
    Both towers use ids of one hashed vocabulary, so that they can share an embedding table. A new file needs the
    column `docstring`, and `code` to be evaluated, or to be searched instead of the standard library.

    Args:
        query: `summary` for the docstring's first paragraph, as short as typical search queries, or `docstring`
            for all of it (with examples that often reveal the function's name).
        tokenizer: `ngrams`, `words` or `bytes`, see `Tokenizer`.
        vocab_size: number of ids of the hashed vocabulary, padding included.
        query_length, item_length: longest docstring and function in tokens; the rest is cut off.
        val_fraction, test_fraction: fractions of the functions; `split_seed` draws the files.
    """

    inputs = ("tokens",)

    def __init__(
        self,
        *,
        batch_size: int = 256,
        seed: int = 0,
        query: Literal["summary", "docstring"] = "summary",
        tokenizer: Literal["ngrams", "words", "bytes"] = "ngrams",
        vocab_size: int = 32768,
        query_length: int = 256,
        item_length: int = 512,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed)
        self.query = query
        self.query_tokenizer = Tokenizer(tokenizer, vocab_size, query_length)
        self.item_tokenizer = Tokenizer(tokenizer, vocab_size, item_length)
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.split_seed = split_seed
        self._texts: dict[str, tuple[list[str], list[str]]] = {}
        self._names: dict[str, list[str]] = {}

    def build(self) -> None:
        functions = standard_library()
        files = np.unique([function.file for function in functions], return_inverse=True)[1]
        splits = split_by_group(files, self.fractions, self.split_seed)
        for split, rows in splits.items():
            selected = [functions[row] for row in rows]
            self._texts[split] = [self._query(f) for f in selected], [f.code for f in selected]
            self._names[split] = _names(selected)
            self.stores[split] = self._store(*self._texts[split], index=torch.from_numpy(rows))
        self.spec = DataSpec(
            task="retrieval",
            inputs={"tokens": self.query_tokenizer.field},
            items={"tokens": self.item_tokenizer.field},
            target="code",
            num_items=len(splits["train"]),
            num_train=len(splits["train"]),
        )
        self.summary = {
            "rows": {split: len(rows) for split, rows in splits.items()},
            "files": {split: len(set(files[rows])) for split, rows in splits.items()},
            "columns": {"query": self.query, "item": "code"},
            "tokens": {"tokenizer": self.query_tokenizer.kind, "vocab_size": self.query_tokenizer.vocab_size},
            "notes": ["split by file; each split is searched through all of its own functions"],
        }

    def preprocessing(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "query_tokenizer": self.query_tokenizer.to_dict(),
            "item_tokenizer": self.item_tokenizer.to_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.query = state["query"]
        self.query_tokenizer = Tokenizer(**state["query_tokenizer"])
        self.item_tokenizer = Tokenizer(**state["item_tokenizer"])

    def new_loader(self, path: str, need_target: bool) -> tuple[BatchLoader, pl.DataFrame]:
        table = Table.read(path)
        require_columns(table.frame, ["docstring", "code"] if need_target else ["docstring"], path)
        queries = table.labels("docstring").fill_null("").to_list()
        if "code" in table.frame.columns:
            items = table.labels("code").fill_null("").to_list()
            names = [f"row {row + 1}" for row in range(len(items))]
            item_id = torch.arange(len(items))
        else:
            functions = standard_library()
            items, names = [f.code for f in functions], _names(functions)
            item_id = placeholder_item_ids(len(queries))
        self._texts[NEW], self._names[NEW] = (queries, items), names
        store = self._store(queries, items, index=torch.arange(len(queries)), item_id=item_id)
        self.notes = {"empty_queries": int((store.query["tokens"] == 0).all(1).sum())}
        return self.serve_pairs(store), table.frame

    def item_names(self, split: str) -> Sequence[str]:
        return self._names[split]

    def texts(self, split: str) -> tuple[list[str], list[str]]:
        return self._texts[split]

    def _query(self, function: Function) -> str:
        return function.summary if self.query == "summary" else function.docstring

    def _store(
        self, queries: list[str], items: list[str], index: torch.Tensor, item_id: torch.Tensor | None = None
    ) -> TextPairStore:
        query: Inputs = {"tokens": self.query_tokenizer(queries)}
        item: Inputs = {"tokens": self.item_tokenizer(items)}
        rows = torch.arange(len(queries))
        return TextPairStore(
            query, item, query_row=rows, item_id=rows if item_id is None else item_id, index=index
        )


def _names(functions: Sequence[Function]) -> list[str]:
    return [f"{function.file}:{function.line} {function.name}" for function in functions]
