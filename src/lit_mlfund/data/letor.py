"""SVMlight/LETOR files: `relevance qid:query index:value … # comment`, one document per line."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import polars as pl

from lit_mlfund.data.errors import DataError, name_rows
from lit_mlfund.data.read import find_file
from lit_mlfund.data.table import Table

LINE = re.compile(r"\s*[-+.\deE]+\s+qid:\d+(\s+\d+:[-+.\deE]+)*\s*(#.*)?$")


def read_letor(path: str, width: int | None = None) -> Table:
    """Read a file (also .gz) as a table of `relevance`, `query` and `f1`, `f2`, …; an absent feature is 0.

    Args:
        path: the file.
        width: read the features 0 … width-1, be they in the file or not; without it, all that the file has.

    Raises:
        DataError: no such file, no document, a line of another form, a query whose documents list no feature.
    """
    from sklearn.datasets import load_svmlight_file  # imports scipy: only who reads such a file waits for it

    file = find_file(path)
    try:
        features, relevance, query = load_svmlight_file(
            str(file), dtype=np.float32, query_id=True, zero_based=True
        )
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: {_first_wrong_line(file) or error}") from error
    if len(relevance) == 0:
        raise DataError(f"{path}: the file has no documents")
    if len(query) != len(relevance):
        raise DataError(f"{path}: {_first_wrong_line(file) or 'lines without qid'}")
    bare = np.setdiff1d(query, query[np.diff(features.indptr) > 0])
    if len(bare):
        rows = name_rows(np.flatnonzero(query == bare[0]))
        raise DataError(f"{path}: query {bare[0]} has no documents: its lines list no feature: {rows}")
    first = 0 if width is not None or 0 in features.indices else 1
    if width is not None:
        features.resize(len(relevance), max(width, features.shape[1]))
    dense = features.toarray()[:, first:width]
    names = [f"f{number}" for number in range(first, first + dense.shape[1])]
    frame = pl.DataFrame({"relevance": relevance, "query": query}).hstack(pl.from_numpy(dense, names))
    return Table.of(frame, path)


def _first_wrong_line(file: Path) -> str | None:
    """The first line that is not of the form, told for the user."""
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip() and not line.lstrip().startswith("#") and not LINE.match(line):
                shown = line.strip()[:60]
                return f"line {number}: expected 'relevance qid:query index:value …', found {shown!r}"
    return None
