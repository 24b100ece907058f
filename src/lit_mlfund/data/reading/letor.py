"""SVMlight/LETOR files: `relevance qid:query index:value … # comment`, one document per line."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lit_mlfund.data.reading.errors import DataError, name_rows
from lit_mlfund.data.reading.read import Batches, find_file
from lit_mlfund.data.reading.table import Table

LINE = re.compile(r"\s*[-+.\deE]+\s+qid:\d+(\s+\d+:[-+.\deE]+)*\s*(#.*)?$")
QUERY = re.compile(rb"^[^#\n]*?qid:(\d+)", re.MULTILINE)
CHUNK = 2**20  # bytes of text that are parsed at a time


@dataclass(frozen=True)
class _Documents:
    """Parsed lines: a sparse matrix `[N, features]`, relevance `[N]`, query `[N]`."""

    features: Any
    relevance: NDArray[np.float64]
    query: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.query)

    def part(self, rows: slice) -> Self:
        return type(self)(self.features[rows], self.relevance[rows], self.query[rows])

    def join(self, other: Self) -> Self:
        from scipy.sparse import vstack

        width = max(self.features.shape[1], other.features.shape[1])
        for part in (self, other):
            part.features.resize(len(part), width)
        return type(self)(
            vstack([self.features, other.features], format="csr"),
            np.concatenate([self.relevance, other.relevance]),
            np.concatenate([self.query, other.query]),
        )


def read_letor(path: str, width: int | None = None) -> Table:
    """Read a file (also .gz) as a table of `relevance`, `query` and `f1`, `f2`, …; an absent feature is 0.

    Args:
        path: the file.
        width: read the features 0 … width-1, be they in the file or not; without it, all that the file has.

    Raises:
        DataError: no such file, no document, a line of another form, a query whose documents list no feature.
    """
    documents = next(_parsed(path, None), None)
    if documents is None:
        raise DataError(f"{path}: the file has no documents")
    _refuse_bare(path, documents, 0)
    first = 0 if width is not None or 0 in documents.features.indices else 1
    width = documents.features.shape[1] if width is None else width
    return Table.of(_frame(documents, _names(first, width)), path)


def scan_letor(path: str, width: int | None = None) -> tuple[pl.Schema, Batches]:
    """The columns of a file as `read_letor` reads it, and how to get its rows in pieces, queries kept whole.

    Without `width` the file is gone through once to find it. Raises as `read_letor` does; a query is taken to end
    where another one begins.
    """
    first = 0
    if width is None:
        first, width = 1, 0
        for part in _parsed(path, CHUNK):
            width = max(width, part.features.shape[1])
            first = 0 if 0 in part.features.indices else first
        if not width:
            raise DataError(f"{path}: the file has no documents")
    names = _names(first, width)
    types = {"relevance": pl.Float64(), "query": pl.Int64(), **dict.fromkeys(names, pl.Float32())}

    def batches(columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        if columns == ["query"]:  # no need to read numbers
            for text in _lines(path, CHUNK):
                yield pl.DataFrame(
                    {"query": [int(query) for query in QUERY.findall(text)]}, {"query": pl.Int64}
                )
            return
        wanted = [name for name in names if name in set(columns)]
        for start, part in _whole_queries(path):
            _refuse_bare(path, part, start)
            for begin in range(0, len(part), rows):
                yield _frame(part.part(slice(begin, begin + rows)), wanted).select(columns)

    return pl.Schema(types), batches


def _names(first: int, width: int) -> list[str]:
    return [f"f{number}" for number in range(first, width)]


def _frame(documents: _Documents, names: Sequence[str]) -> pl.DataFrame:
    """With the features of these names, which rise; those that no document has are 0."""
    numbers = [int(name.removeprefix("f")) for name in names]
    features = documents.features
    features.resize(len(documents), max([features.shape[1], *(n + 1 for n in numbers)]))
    dense = features[:, numbers].toarray()
    frame = pl.DataFrame({"relevance": documents.relevance, "query": documents.query})
    return frame.hstack(pl.from_numpy(dense, list(names))) if names else frame


def _whole_queries(path: str) -> Iterator[tuple[int, _Documents]]:
    """The row that a part begins at, and the part: of about `CHUNK` bytes, but no query is torn."""
    left: _Documents | None = None
    start = 0
    for part in _parsed(path, CHUNK):
        part = part if left is None else left.join(part)
        others = np.flatnonzero(part.query != part.query[-1])
        cut = int(others[-1]) + 1 if len(others) else 0
        if cut:
            yield start, part.part(slice(cut))
        left, start = part.part(slice(cut, None)), start + cut
    if left is not None:
        yield start, left


def _parsed(path: str, size: int | None) -> Iterator[_Documents]:
    """The documents of a file in parts of about `size` bytes of text, or all of them."""
    from sklearn.datasets import load_svmlight_file  # imports scipy: only who reads such a file waits for it

    for text in _lines(path, size):
        try:
            told = load_svmlight_file(io.BytesIO(text), dtype=np.float32, query_id=True, zero_based=True)
        except ValueError as error:
            raise DataError(f"{path}: {_first_wrong_line(path) or error}") from error
        documents = _Documents(*told)
        if len(documents) != len(documents.relevance):
            raise DataError(f"{path}: {_first_wrong_line(path) or 'lines without qid'}")
        if len(documents):
            yield documents


def _lines(path: str, size: int | None) -> Iterator[bytes]:
    """Whole lines of about `size` bytes together, or all of them."""
    try:
        with _opened(find_file(path)) as stream:
            while lines := stream.readlines(-1 if size is None else size):
                yield b"".join(lines)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: {_first_wrong_line(path) or error}") from error


def _refuse_bare(path: str, documents: _Documents, start: int) -> None:
    """A query of which no document, from row `start` on, lists a feature."""
    listed = np.diff(documents.features.indptr) > 0
    bare = np.setdiff1d(documents.query, documents.query[listed])
    if len(bare):
        rows = name_rows(start + np.flatnonzero(documents.query == bare[0]))
        raise DataError(f"{path}: query {bare[0]} has no documents: its lines list no feature: {rows}")


def _first_wrong_line(path: str) -> str | None:
    """The first line that is not of the form, told for the user."""
    with suppress(OSError, EOFError), _opened(find_file(path)) as lines:
        for number, line in enumerate(io.TextIOWrapper(lines, "utf-8", "replace"), start=1):
            if line.strip() and not line.lstrip().startswith("#") and not LINE.match(line):
                shown = line.strip()[:60]
                return f"line {number}: expected 'relevance qid:query index:value …', found {shown!r}"
    return None


def _opened(file: Path) -> BinaryIO:
    return cast(BinaryIO, (gzip.open if file.suffix == ".gz" else open)(file, "rb"))
