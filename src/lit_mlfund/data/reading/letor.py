"""Reads SVMlight/LETOR files: `relevance qid:query index:value … # comment`, one document per line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lit_mlfund.data.reading.errors import DataError, name_rows
from lit_mlfund.data.reading.gzip_file import open_gzip
from lit_mlfund.data.reading.read import Batches, find_file
from lit_mlfund.data.reading.table import Table
from lit_mlfund.memory import as_size, free_bytes

LINE = re.compile(r"\s*[-+.\deE]+\s+qid:\d+(\s+\d+:[-+.\deE]+)*\s*(#.*)?$")
QUERY = re.compile(rb"^[^#\n]*?qid:(\d+)", re.MULTILINE)
HUGE = r"[0-9]{10,}"  # a number that may not fit into 32 bits
COLUMN = 2**10  # bytes that a column of a table takes, without its values
CHUNK = 2**20  # bytes of text that are parsed at a time


@dataclass(frozen=True)
class _Documents:
    """Holds parsed lines: a sparse matrix `[N, features]`, relevance `[N]`, query `[N]`."""

    features: Any
    relevance: NDArray[np.float64]
    query: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.query)

    def take(self, rows: slice) -> Self:
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
        width: read the features 0 … width-1, whether the file has them or not; by default all that it has.

    Raises:
        DataError: no such file, no document, a malformed line, a query whose documents list no feature.
    """
    documents = next(_parse(path, None), None)
    if documents is None:
        raise DataError(f"{path}: the file has no documents")
    _require_features(path, documents, 0)
    first = 0 if width is not None or 0 in documents.features.indices else 1
    if width is None:
        width = documents.features.shape[1]
        _require_memory(path, width, len(documents))
    return Table.of(_frame(documents, _names(first, width)), path)


def scan_letor(path: str, width: int | None = None) -> tuple[pl.Schema, Batches]:
    """Return the columns of a file as `read_letor` reads it, and a function that yields its rows in pieces.

    Queries stay whole; a query is taken to end where another one begins. Without `width` the file is read once to
    find it. Raises as `read_letor` does.
    """
    first = 0
    if width is None:
        first, width = 1, 0
        for part in _parse(path, CHUNK):
            width = max(width, part.features.shape[1])
            first = 0 if 0 in part.features.indices else first
            _require_memory(path, width, 1)
        if not width:
            raise DataError(f"{path}: the file has no documents")
    names = _names(first, width)
    types = {"relevance": pl.Float64(), "query": pl.Int64(), **dict.fromkeys(names, pl.Float32())}

    def batches(columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        if columns == ["query"]:  # no need to parse the features
            for text in _read_lines(path, CHUNK):
                yield pl.DataFrame(
                    {"query": [int(query) for query in QUERY.findall(text)]}, {"query": pl.Int64}
                )
            return
        wanted = [name for name in names if name in set(columns)]
        for start, part in _whole_queries(path):
            _require_features(path, part, start)
            for begin in range(0, len(part), rows):
                yield _frame(part.take(slice(begin, begin + rows)), wanted).select(columns)

    return pl.Schema(types), batches


def _names(first: int, width: int) -> list[str]:
    return [f"f{number}" for number in range(first, width)]


def _frame(documents: _Documents, names: Sequence[str]) -> pl.DataFrame:
    """Build a frame with the features `names`, in ascending order; those that no document has are 0."""
    numbers = [int(name.removeprefix("f")) for name in names]
    features = documents.features
    # Columns behind the last one go first: to choose among columns, scipy allocates a number for each.
    features.resize(len(documents), max(numbers, default=0) + 1)
    dense = features[:, numbers].toarray()
    frame = pl.DataFrame({"relevance": documents.relevance, "query": documents.query})
    return frame.hstack(pl.from_numpy(dense, list(names))) if names else frame


def _whole_queries(path: str) -> Iterator[tuple[int, _Documents]]:
    """Yield the first row of a part, and the part: of about `CHUNK` bytes, but without splitting a query."""
    remainder: _Documents | None = None
    start = 0
    for part in _parse(path, CHUNK):
        part = part if remainder is None else remainder.join(part)
        others = np.flatnonzero(part.query != part.query[-1])
        cut = int(others[-1]) + 1 if len(others) else 0
        if cut:
            yield start, part.take(slice(cut))
        remainder, start = part.take(slice(cut, None)), start + cut
    if remainder is not None:
        yield start, remainder


def _parse(path: str, size: int | None) -> Iterator[_Documents]:
    """Yield the documents of a file in parts of about `size` bytes of text, or all at once."""
    from sklearn.datasets import load_svmlight_file  # slow, as it imports scipy: only for such files

    for text in _read_lines(path, size):
        try:
            parsed = load_svmlight_file(io.BytesIO(text), dtype=np.float32, query_id=True, zero_based=True)
        except ValueError as error:
            raise DataError(f"{path}: {_describe_malformed_line(path) or error}") from error
        except OverflowError as error:
            raise DataError(
                f"{path}: {_line_of(path, HUGE)}feature or query numbers from {2**31:,} on cannot be "
                "read; every feature up to the highest is a column, so number them without gaps"
            ) from error
        documents = _Documents(*parsed)
        if len(documents) != len(documents.relevance):
            raise DataError(f"{path}: {_describe_malformed_line(path) or 'lines without qid'}")
        if len(documents):
            yield documents


def _read_lines(path: str, size: int | None) -> Iterator[bytes]:
    """Yield whole lines of about `size` bytes together, or all at once."""
    try:
        with _open(find_file(path)) as stream:
            while lines := stream.readlines(-1 if size is None else size):
                yield b"".join(lines)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: {_describe_malformed_line(path) or error}") from error


def _require_features(path: str, documents: _Documents, start: int) -> None:
    """Raise a DataError for a query whose documents list no feature; the first document is row `start`."""
    listed = np.diff(documents.features.indptr) > 0
    empty = np.setdiff1d(documents.query, documents.query[listed])
    if len(empty):
        rows = name_rows(start + np.flatnonzero(documents.query == empty[0]))
        raise DataError(f"{path}: query {empty[0]} has no documents: its lines list no feature: {rows}")


def _require_memory(path: str, width: int, rows: int) -> None:
    """Raise a DataError if `rows` documents of so many features do not fit into memory."""
    each, free = COLUMN + 2 * 4 * rows, free_bytes()  # as read, and as encoded
    if width * each > free:
        raise DataError(
            f"{path}: {_line_of(path, width - 1)}feature {width - 1}: a table of {width:,} features for {rows:,} "
            f"documents takes {as_size(width * each)}, and {as_size(free)} are free, enough for features up to "
            f"{free // each:,}; every feature up to the highest is a column, so number them without gaps"
        )


def _line_of(path: str, feature: int | str) -> str:
    """Return `line 3: ` for the first line that lists a feature, or one of a pattern."""
    listed = re.compile(rf"\s(qid:)?{feature}\b".encode())
    with suppress(OSError, EOFError), _open(find_file(path)) as lines:
        for number, line in enumerate(lines, start=1):
            if listed.search(line.partition(b"#")[0]):
                return f"line {number}: "
    return ""


def _describe_malformed_line(path: str) -> str | None:
    """Describe the first malformed line, for an error message."""
    with suppress(OSError, EOFError), _open(find_file(path)) as lines:
        for number, line in enumerate(io.TextIOWrapper(lines, "utf-8", "replace"), start=1):
            if line.strip() and not line.lstrip().startswith("#") and not LINE.match(line):
                shown = line.strip()[:60]
                return f"line {number}: expected 'relevance qid:query index:value …', found {shown!r}"
    return None


def _open(file: Path) -> BinaryIO:
    return open_gzip(file) if file.suffix == ".gz" else open(file, "rb")
