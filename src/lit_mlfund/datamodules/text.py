"""Reads texts of the user: a column of text, and a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lit_mlfund.data.preprocessing.features import Encoded
from lit_mlfund.data.preprocessing.text import TextEncoder, TextFeatures, TextStore
from lit_mlfund.data.preprocessing.tokenize import Tokenizer
from lit_mlfund.data.reading.frames import Source
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.table import Table
from lit_mlfund.datamodules.table import TableDataModule


class TextDataModule(TableDataModule):
    """Reads a Parquet, CSV or Arrow file in which one column is text and another the target.

    Splits are made as by `data=table`. The other columns are left out.

    Args:
        path, target, time, group, weight, split, val_path, test_path, val_fraction, test_fraction,
            split_seed, positive, encoding, separator, header, missing, decimal, thousands, date_format,
            missing_target: as in `TableDataModule`.
        text: the column of text.
        tokenizer: `ngrams` for models that pool, `words` or `bytes` for those that read in order; see
            `Tokenizer`.
        vocab_size: number of ids of the hashed vocabulary, padding included (257 for bytes).
        max_length: longest text in tokens; the rest is cut off.
    """

    tasks: tuple[str, ...] = ("binary", "multiclass", "regression")
    inputs = ("tokens",)
    encoder_type = TextEncoder

    def __init__(
        self,
        path: Source,
        *,
        text: str,
        target: str,
        task: str | None = None,
        batch_size: int = 64,
        seed: int = 0,
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
        tokenizer: Literal["ngrams", "words", "bytes"] = "ngrams",
        vocab_size: int = 32768,
        max_length: int = 512,
        encoding: str | None = None,
        separator: str | None = None,
        header: int | None = None,
        missing: Sequence[str] | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        date_format: str | dict[str, str] | None = None,
        missing_target: Literal["error", "drop"] = "error",
    ) -> None:
        if task is not None and task not in self.tasks:
            raise ValueError(f"data=text serves {', '.join(self.tasks)}; got task={task}")
        if text == target:
            raise ValueError(f"data.text and data.target are both {text!r}")
        self.features = TextFeatures(text, Tokenizer(tokenizer, vocab_size, max_length))
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            task=task,
            path=path,
            target=target,
            time=time,
            group=group,
            weight=weight,
            split=split,
            val_path=val_path,
            test_path=test_path,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            positive=positive,
            cache=None,
            encoding=encoding,
            separator=separator,
            header=header,
            missing=missing,
            decimal=decimal,
            thousands=thousands,
            date_format=date_format,
            missing_target=missing_target,
        )

    def read_file(self, path: Source) -> Table:
        table = super().read_file(path)
        require_columns(table.frame, self.features.columns, table.source)
        return table

    def typed_columns(self) -> set[str | None]:
        return {self.roles.target, self.roles.weight, self.roles.time}

    def row_cells(self) -> int:
        return self.features.tokenizer.max_length  # ids of 4 bytes, and the text itself

    def read(self) -> dict[str, Table]:
        tables = super().read()
        if self.encoder is None:
            self.encoder = TextEncoder.of(tables["train"], self.roles, self.features, self.positive)
        return tables

    def _summarize(self, tables: dict[str, Table], encoded: dict[str, Encoded]) -> dict[str, Any]:
        assert isinstance(self.encoder, TextEncoder)
        column, tokenizer = self.encoder.features.column, self.encoder.features.tokenizer
        train = self.stores["train"]
        assert isinstance(train, TextStore)
        lengths = train.lengths
        used = {column, *self.roles.required(labelled=True)}
        return {
            "rows": {split: len(table) for split, table in tables.items()},
            "columns": {
                "text": column,
                "dropped": {
                    name: "data=text reads one column"
                    for name in tables["train"].frame.columns
                    if name not in used
                },
            },
            "tokens": {
                "tokenizer": tokenizer.kind,
                "vocab_size": tokenizer.vocab_size,
                "mean": round(float(lengths.float().mean()), 1),
                "cut_short": int((lengths >= tokenizer.max_length).sum()),
            },
            "imputed_cells": {split: part.imputed for split, part in encoded.items() if part.imputed},
            "target": {"column": self.roles.target, **self._describe_target()},
            "notes": list(self.remarks),
        }
