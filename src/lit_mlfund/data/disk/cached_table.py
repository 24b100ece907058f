"""Caches a table as files of encoded rows: built once from the user's file, then mapped into memory."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from lit_mlfund.atomic import to_json
from lit_mlfund.data.disk.assign_splits import split_assigner, whole_file_assigner
from lit_mlfund.data.disk.cache import Cache, find, open_or_make, rebuild, remove_others, user_cache_folder
from lit_mlfund.data.disk.encode_to_disk import convert, rows_by_split
from lit_mlfund.data.disk.streaming_fit import fit_scan
from lit_mlfund.data.parsing.options import Parsing
from lit_mlfund.data.preprocessing.novel_categories import Cells, novel_categories
from lit_mlfund.data.preprocessing.table_encoder import Encoder, Roles
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.file_watch import Signature, Watch
from lit_mlfund.data.reading.frames import Source, is_frame
from lit_mlfund.data.reading.read import find_file, require_columns
from lit_mlfund.data.reading.reader import TableReader
from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.serving.mapped import SAMPLE_ROWS, MappedListStore, MappedStore, open_mapped

# Size of the files from which on a cache is worth it. The same on every machine, as the sample for the fit and the
# order of training depend on it.
AUTO_BYTES = 2**29


@dataclass(frozen=True)
class TableRequest:
    """Holds everything that the rows of a cached table depend on, except for the content of the files.

    Attributes are those of `TableDataModule`; `split_files` maps splits to files of their own, `fractions` the
    splits that are cut off from `path` to their shares.
    """

    path: str
    split_files: dict[str, str]
    fractions: dict[str, float]
    split_seed: int
    group: str | None
    split: str | None
    roles: Roles
    positive: str | None
    min_count: int
    per_query: str
    parsing: Parsing = field(default_factory=Parsing)
    missing_target: str = "error"

    @property
    def files(self) -> dict[str, str]:
        """Map `path` and the names of splits with their own file to the files."""
        return {"path": self.path, **self.split_files}


@dataclass(frozen=True)
class CachedTable:
    """Bundles the fitted encoder and the mapped stores; `content` has the counts of their rows (see `convert`)."""

    encoder: Encoder
    stores: dict[str, MappedStore | MappedListStore]
    content: dict[str, Any]
    notes: list[str]


def cache_root(cache: str | None, files: list[Source]) -> Path | None:
    """Return the folder for the option `cache`, or None for memory; `auto` takes the user's own for large files.

    Tables that are data frames already are never cached.
    """
    if any(map(is_frame, files)):
        return None
    if cache != "auto":
        return None if cache is None else Path(cache).expanduser()
    if sum(find_file(path).stat().st_size for path in files) < AUTO_BYTES:
        return None
    return user_cache_folder("tables")


def cached_table(
    request: TableRequest,
    root: Path,
    watch: Watch,
    reader: TableReader | None = None,
    encoder: Encoder | None = None,
) -> CachedTable:
    """Open the cache of a table, building it where there is none.

    Args:
        request: the table.
        root: the folder of caches.
        watch: receives the files, and is called before each pass over the rows.
        reader: reads the files, and is given what was recognised in them where there is a cache.
        encoder: encodes the rows; without it one is fitted on the training rows.

    Raises:
        DataError: as for a table in memory; a file that changes while it is read.
        WriteError: the disk refused the files.
    """
    reader = reader or TableReader(request.parsing)
    signatures = {use: Signature.of(path) for use, path in request.files.items()}
    options = {name: value for name, value in asdict(request).items() if name not in ("path", "split_files")}
    key = {"sources": {use: signature.to_dict() for use, signature in signatures.items()}, "options": options}
    name = re.sub(r"\W+", "_", Path(request.path).name) + "-rows"
    cache: Cache | None = None
    if encoder is not None:
        cache = find(root, name, key)
        known = None if cache is None else (cache.content["encoder"], cache.content["reading"])
        if known != (_plain(encoder), reader.state()):
            cache = None
            key["encoder"], key["reading"] = encoder.to_dict(), reader.state()
    if cache is None:
        cache = open_or_make(
            root, name, key, lambda folder: _build(request, signatures, encoder, folder, reader)
        )
    if not cache.made:
        try:
            return _opened(cache, signatures, watch, reader)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError, RuntimeError):
            # intact by its own checksums, and yet not what was written here
            if encoder is not None:  # such rows are no substitute for those of an encoder that is fitted
                key["encoder"], key["reading"] = encoder.to_dict(), reader.state()
            cache = rebuild(
                root,
                name,
                key,
                "it could not be read",
                lambda folder: _build(request, signatures, encoder, folder, reader),
            )
    remove_others(root, cache.folder, _is_stale)
    return _opened(cache, signatures, watch, reader)


def _opened(cache: Cache, signatures: dict[str, Signature], watch: Watch, reader: TableReader) -> CachedTable:
    content = cache.content
    if not cache.made:
        reader.restore(content["reading"])
        reader.remarks = content["remarks"]
    fitted = Encoder.from_dict(content["encoder"])
    stores = {
        split: open_mapped(cache.folder, split, part["layout"], watch)
        for split, part in content["splits"].items()
    }
    notes = _notes(cache)
    watch.add(*signatures.values())
    return CachedTable(fitted, stores, content, notes)


def _build(
    request: TableRequest,
    signatures: dict[str, Signature],
    encoder: Encoder | None,
    folder: Path,
    reader: TableReader,
) -> dict[str, Any]:
    scans = {use: reader.scan(path, signatures[use]) for use, path in request.files.items()}
    try:
        content = _fit_and_convert(request, scans, encoder, folder)
        return content | {"reading": reader.state(), "remarks": reader.remarks}
    except DataError:
        for scan in scans.values():
            scan.check()  # a file that changed meanwhile is reported as such, whatever else is wrong with it
        raise


def _fit_and_convert(
    request: TableRequest, scans: dict[str, Scan], encoder: Encoder | None, folder: Path
) -> dict[str, Any]:
    scan, roles = scans["path"], request.roles
    required = [*roles.required(True), roles.time, *roles.exclude, *roles.categorical]
    for other in scans.values():
        columns = required if other is scan else roles.required(True)
        require_columns(other.schema.to_frame(), columns, other.path)
    dropped = 0
    if request.missing_target == "drop":
        dropped = scan.count_missing(roles.target)
        scans = {use: replace(other, present=roles.target) for use, other in scans.items()}
        scan = scans["path"]
    sources = {
        "path": (
            scan,
            split_assigner(
                scan,
                request.fractions,
                seed=request.split_seed,
                target=roles.target,
                stratified=roles.task in ("binary", "multiclass"),
                time=roles.time,
                group=roles.query or request.group,
                split=request.split,
            ),
        )
    }
    for split in request.split_files:
        sources[split] = (scans[split], whole_file_assigner(split))
    sample = None
    if encoder is None:
        fitted = fit_scan(*sources["path"], roles, positive=request.positive, min_count=request.min_count)
        encoder, sample = replace(fitted.encoder, per_query=request.per_query), [fitted.sample, fitted.rows]
    splits = convert(sources, encoder, folder)
    cells = {split: Cells(part["rows"], part["known"], part["unknown"]) for split, part in splits.items()}
    novel = novel_categories(cells, partial(rows_by_split, sources)) if sample is not None else {}
    if novel:
        for file in folder.iterdir():  # encoded with columns that are not features
            file.unlink()
        encoder = encoder.without(novel, scan.path)
        splits = convert(sources, encoder, folder)
    boolean = [name for name in encoder.features.source if scan.schema[name] == pl.Boolean]
    return {
        "encoder": encoder.to_dict(),
        "splits": splits,
        "sample": sample,
        "boolean": boolean,
        "rows_without_target": dropped,
    }


def _notes(cache: Cache) -> list[str]:
    reason = f", as {cache.reason}" if cache.reason else ""
    notes = [f"rows: from the cache {cache.folder}{f', made now{reason}' if cache.made else ''}"]
    sample = cache.content["sample"]
    if sample is not None and sample[0] < sample[1]:
        notes.append(
            f"preprocessing: numbers and dates fitted on {sample[0]:,} of {sample[1]:,} training rows drawn at random, "
            "categories and target on all"
        )
    train = cache.content["splits"]["train"]["rows"]
    if train > SAMPLE_ROWS:
        notes.append(f"references: fitted on {SAMPLE_ROWS:,} of the {train:,} training rows, drawn at random")
    return notes


def _is_stale(key: dict[str, Any]) -> bool:
    """Check whether a source of a cache has changed; a missing source may merely be unmounted."""
    signatures = [Signature(**fields) for fields in key["sources"].values()]
    return any((signature.difference() or "is gone") != "is gone" for signature in signatures)


def _plain(encoder: Encoder) -> dict[str, Any]:
    """Return the encoder in the form in which a manifest stores it."""
    return json.loads(to_json(encoder.to_dict()))
