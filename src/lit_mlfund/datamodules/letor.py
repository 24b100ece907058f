"""Reads ranking data in the SVMlight/LETOR format."""

from __future__ import annotations

from functools import partial
from typing import Literal

from lit_mlfund.data.reading import scan
from lit_mlfund.data.reading.letor import read_letor, scan_letor
from lit_mlfund.data.reading.read import text_size
from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.reading.table import Table
from lit_mlfund.datamodules.table import TableDataModule


class LetorDataModule(TableDataModule):
    """Reads lines `relevance qid:query index:value … # comment`, the format of MSLR-WEB, Istella and Yahoo.

    Validation and test splits without a file of their own are cut off from `path`, by query.

    Args:
        path: the file.
        batch_size: queries in a training batch.
        seed: seed of the training order.
        val_path, test_path: separate files for these splits.
        val_fraction, test_fraction: fractions of the rows that are cut off for them otherwise.
        split_seed: seed of that split.
        per_query: treatment of the features: `none` leaves them, `replace` standardises them within their query,
            `append` adds the standardised ones to them.
    """

    tasks = ("ranking",)
    takes_frames = False

    def __init__(
        self,
        path: str,
        *,
        batch_size: int = 64,
        seed: int = 0,
        val_path: str | None = None,
        test_path: str | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        per_query: Literal["none", "replace", "append"] = "none",
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            task="ranking",
            path=path,
            target="relevance",
            query="query",
            val_path=val_path,
            test_path=test_path,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            per_query=per_query,
            cache=None,
        )
        self.num_features: int | None = None

    def scan_file(self, path: str) -> Scan | None:
        if text_size(path) < scan.LARGE:
            return None
        return Scan.open(path, reader=partial(scan_letor, width=self._num_features()))

    def read_file(self, path: str) -> Table:
        """Read a file; the first one fixes the number of features, of which missing ones are 0 in later files."""
        table = read_letor(path, self._num_features())
        if self.num_features is None:
            self.num_features = 1 + int(table.frame.columns[-1].removeprefix("f"))
        return table

    def _num_features(self) -> int | None:
        """Return one more than the last feature, once a file was read or the encoder is there; None before."""
        if self.num_features is None and self.encoder is not None:
            self.num_features = 1 + max(int(name.removeprefix("f")) for name in self.encoder.features.columns)
        return self.num_features
