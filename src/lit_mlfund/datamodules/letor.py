"""Ranking data in the SVMlight/LETOR format."""

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
    """Lines `relevance qid:query index:value … # comment`, as MSLR-WEB, Istella and Yahoo have them.

    What is not given as a file of its own is cut off from `path`, by query.

    Args:
        path: the file.
        batch_size: queries of a training batch.
        seed: of the order of training.
        val_path, test_path: files of their own for these splits.
        val_fraction, test_fraction: shares of the rows that are cut off for them otherwise.
        split_seed: of that cut.
        per_query: what becomes of the features: `none` leaves them, `replace` standardises them within their
            query, `append` adds that beside them.
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
        self.width: int | None = None

    def scan_file(self, path: str) -> Scan | None:
        if text_size(path) < scan.LARGE:
            return None
        return Scan.open(path, reader=partial(scan_letor, width=self._num_features()))

    def read_file(self, path: str) -> Table:
        """The first file tells how many features there are; a feature that later ones lack is 0 there."""
        found = read_letor(path, self._num_features())
        if self.width is None:
            self.width = 1 + int(found.frame.columns[-1].removeprefix("f"))
        return found

    def _num_features(self) -> int | None:
        """One more than the last feature, as soon as a file or what was fitted tells it."""
        if self.width is None and self.encoder is not None:
            self.width = 1 + max(int(name.removeprefix("f")) for name in self.encoder.features.columns)
        return self.width
