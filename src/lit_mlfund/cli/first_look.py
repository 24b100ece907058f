"""Looks at the user's files before torch is imported, so that a wrong path or column is told within a second.

It refuses only what the data modules would refuse, in the same words; all else is left to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_mlfund.startup.environment import is_first_process
from lit_mlfund.startup.streams import announce

_MODULE = "lit_mlfund.datamodules."
# By data module: the values that name columns of `path`, of which the first ones are needed in every labelled file,
# and the number of these.
_COLUMNS: dict[str, tuple[tuple[str, ...], int]] = {
    "TableDataModule": (("target", "query", "weight", "time", "group", "split", "exclude", "categorical"), 3),
    "TextDataModule": (("text", "target", "weight", "time", "group", "split"), 3),
    "InteractionsDataModule": (("user", "item", "time"), 3),  # unlabelled rows need no time either
    "ImagesDataModule": (("target", "image", "group", "exclude"), 1),
    "LetorDataModule": ((), 0),
    "TextLMDataModule": ((), 0),
}
_UNLABELLED = {"query", "text", "user", "image"}  # needed in a file to predict, too
_SPLIT_FILES = ("val_path", "test_path")
_SIDE_FILES = ("users_path", "items_path")
# How a text file is read; where one of these is given, its columns are left to the data module.
_READING = ("encoding", "separator", "header", "missing", "decimal", "thousands", "date_format")
_FOLDERS = {"ImagesDataModule"}
_NO_TABLES = {"LetorDataModule", "TextLMDataModule"}
_HEADER = 2**16  # bytes of a text file that are looked at first
_SMALL = 2**24  # bytes of a text file that is read as a whole where its header is not plain


def first_look(data: Mapping[str, Any]) -> None:
    """Look at the files of a configuration's data node.

    Raises:
        DataError: a file is missing, no table, or without a column that the node names.
    """
    if (name := _name(data)) is not None:
        columns, required = _COLUMNS[name]
        _look(name, data, "path", columns)
        for key in _SPLIT_FILES:
            _look(name, data, key, columns[:required])
        for key in _SIDE_FILES:
            _look(name, data, key, ())
    _announce(data.get("path"))


def first_look_at_run(
    run_dir: Path, path: str | None = None, labelled: bool = True, trust: Sequence[str] = ()
) -> None:
    """Check the configuration of a run, and look at its files or at a new file for it.

    Args:
        run_dir: a run folder.
        path: the new file; None looks at the files of the run itself.
        labelled: the new file has the target, too.
        trust: packages of others that the run may name.

    Raises:
        ConfigError: there is no such run, or it would build what it must not.
        DataError: as in `first_look`.
    """
    from lit_mlfund.runs.execution.strangers import load_checked

    data = load_checked(run_dir.absolute(), trust).get("data")
    if not isinstance(data, dict):
        return
    if path is None:
        first_look(data)
    elif (name := _name(data)) is not None:
        columns, required = _COLUMNS[name]
        needed = [key for key in columns[:required] if labelled or key in _UNLABELLED]
        record = _data_record(run_dir)
        features = _features(record) if name == "TableDataModule" else []
        node = {**data, **_recognised(record), "path": path, "features": features}
        _look(name, node, "path", (*needed, "features"))
    if path is not None:
        _announce(path)


def _announce(path: Any) -> None:
    """Say what is read next, behind the import of torch."""
    if is_first_process():
        announce(f"reading {path if isinstance(path, str) else 'the data'} …")


def _data_record(run_dir: Path) -> dict[str, Any]:
    """Return what `provenance.json` says of the data of a run, nothing where it cannot be read."""
    try:
        record = json.loads((run_dir / "provenance.json").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _features(record: dict[str, Any]) -> list[str]:
    """Return the columns that a run on a table has as features, none where its record does not have them all."""
    try:
        return [
            str(name)
            for kind in ("numeric", "boolean", "categorical", "date")
            for name in record["columns"][kind]
        ]
    except (KeyError, TypeError):
        return []


def _recognised(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a run recognised in its files and new ones follow, such as that there is no header."""
    reading = record.get("reading")
    return (
        {key: value for key, value in reading.items() if key in _READING} if isinstance(reading, dict) else {}
    )


def _name(data: Mapping[str, Any]) -> str | None:
    """Return the name of one of our data modules of files, None for any other."""
    target = str(data.get("_target_", ""))
    name = target.rpartition(".")[2]
    return name if target.startswith(_MODULE) and name in _COLUMNS else None


def _look(name: str, data: Mapping[str, Any], key: str, columns: tuple[str, ...]) -> None:
    path = data.get(key)
    if not isinstance(path, str) or "://" in path:
        return
    from lit_mlfund.data.reading.read import find_file, require_columns

    path = str(Path(path).expanduser().absolute())
    if name in _FOLDERS and Path(path).is_dir():
        return
    file = find_file(path)
    if name == "TextLMDataModule" and file.stat().st_size <= _SMALL:
        from lit_mlfund.config.errors import ConfigError
        from lit_mlfund.data.parsing.options import check_encoding
        from lit_mlfund.data.reading.documents import read_text

        if isinstance(encoding := data.get("encoding"), str):
            try:
                check_encoding(encoding)
            except ValueError as error:
                raise ConfigError(str(error)) from error
        read_text(path, encoding)
    if name in _NO_TABLES:
        return
    asked = [column for column_key in columns for column in _listed(data.get(column_key))]
    is_text = file.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    if is_text and (any(data.get(option) is not None for option in _READING) or _plainly_has(file, asked)):
        return
    if is_text and file.stat().st_size > _SMALL:
        return
    require_columns(_header(path, is_text), asked, path)


def _listed(value: Any) -> list[str]:
    return (
        list(map(str, value)) if isinstance(value, (list, tuple)) else [] if value is None else [str(value)]
    )


def _plainly_has(file: Path, columns: list[str]) -> bool:
    """Check the first line of a text file for the names of all columns; `False` may only mean that it is not plain."""
    if file.suffix.lower() == ".gz":
        return False
    with open(file, "rb") as content:
        line = content.readline(_HEADER).decode("utf-8", "replace").rstrip("\r\n").removeprefix("\ufeff")
    separator = max(",;\t", key=line.count)
    return set(columns) <= {cell.strip('"') for cell in line.split(separator)}


def _header(path: str, is_text: bool) -> Any:
    """Return a frame with the columns of a table, as the data module reads it, with or without rows."""
    from lit_mlfund.data.reading.read import is_stream, read_table, scan_table

    if is_text or (Path(path).suffix.lower() != ".parquet" and is_stream(path)):
        return read_table(path)
    return scan_table(path)[0].to_frame()
