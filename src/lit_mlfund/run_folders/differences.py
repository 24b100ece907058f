"""Finds what differs between the configurations, versions and data of several runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lit_mlfund.run_folders.groups import key_of

MISSING = "–"  # where one of the runs has no such value
_WHERE = ("name", "runs_dir", "run")  # where a run is written
_VERSIONS = ("lit_mlfund", "python", "packages", "git", "machine")
_TARGET = "._target_"

Differences = dict[str, list[str]]  # key -> the value in each run, as text


def differences(values: Sequence[Mapping[str, Any]]) -> Differences:
    """Return the dotted keys whose values are not the same in all mappings."""
    flat = [_flat(value) for value in values]
    keys = dict.fromkeys(key for one in flat for key in one)
    told = {key: [one.get(key, MISSING) for one in flat] for key in keys}
    return {key: texts for key, texts in told.items() if len(set(texts)) > 1}


def given_differences(given: Sequence[tuple[str, ...]]) -> Differences:
    """Return the overrides that not all runs were given, by key."""
    return differences([{key_of(line): line.partition("=")[2] for line in lines} for lines in given])


def config_differences(configs: Sequence[Mapping[str, Any]], given: Differences) -> Differences:
    """Return where configurations differ beyond what was given.

    Of nodes that build different classes only the class is told, and the values that all of them have.
    """
    told = differences(
        [{key: value for key, value in config.items() if key not in _WHERE} for config in configs]
    )
    others = [key.removesuffix("_target_") for key in told if key.endswith(_TARGET)]
    return {
        key: texts
        for key, texts in told.items()
        if key not in given
        and (key.endswith(_TARGET) or MISSING not in texts or not key.startswith(tuple(others)))
    }


def version_differences(provenances: Sequence[Mapping[str, Any]]) -> Differences:
    """Return the packages, the Python, the commit and the machine that differ; `provenance.json` has them."""
    told = differences([{key: record.get(key) for key in _VERSIONS} for record in provenances])
    return {key.removeprefix("packages."): texts for key, texts in told.items()}


def data_differences(provenances: Sequence[Mapping[str, Any]]) -> Differences:
    """Return what differs in the data: the files, by path and content, and how they were interpreted."""
    return differences([{**_files(record), **_mapping(record.get("data"))} for record in provenances])


def _files(provenance: Mapping[str, Any]) -> dict[str, Any]:
    sources = [_mapping(source) for source in provenance.get("sources") or []]
    return {
        f"file {number + 1}": {"path": source.get("path"), "content": str(source.get("probes"))[:12]}
        for number, source in enumerate(sources)
    }


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, part in value.items():
        path = f"{prefix}{key}"
        if isinstance(part, Mapping) and part:
            flat |= _flat(part, f"{path}.")
        else:
            flat[path] = part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, default=str)
    return flat
