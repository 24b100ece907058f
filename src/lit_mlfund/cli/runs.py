"""Implements `mlfund runs`, which lists the runs of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.keys import read_keys
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.run_folders.listing import TIME, Listing, list_runs
from lit_mlfund.run_folders.names import RUNS_DIR
from lit_mlfund.startup.streams import OUTPUT, say_json, say_result

LAST = 20
ALL = "all"
_SHOWN = 3  # skipped folders in a message


def run(arguments: list[str]) -> int:
    """Check the arguments, read and print the table of runs, and return the exit code."""
    folders = [word for word in arguments if "=" not in word or Path(word).is_dir()]
    values = read_keys([word for word in arguments if word not in folders], ("task", "sort", "last", "over"))
    if len(folders) > 1:
        raise ConfigError(f"one folder at a time, got {' '.join(folders)}")
    root = Path(folders[0] if folders else RUNS_DIR).expanduser().absolute()
    sort, over = values.get("sort", TIME), [key for key in values.get("over", "").split(",") if key]
    listing = list_runs(
        root, values.get("task"), sort, _last(values), every=bool(over) and "last" not in values
    )
    text, record = _grouped(listing, sort, over) if over else _listed(listing, sort)
    told = say_result(text)
    return 0 if say_json(to_json({"folder": root, "total": listing.total, **record})) and told else 2


def _last(values: dict[str, str]) -> int | None:
    given = values.get("last", str(LAST))
    if given == ALL:
        return None
    if not given.isdecimal() or not int(given):
        raise ConfigError(f"last: expected a number of runs or {ALL}, got {given}")
    return int(given)


def _listed(listing: Listing, sort: str) -> tuple[str, dict[str, Any]]:
    from lit_mlfund.reports.comparison.run_table import run_record, runs_table
    from lit_mlfund.run_folders.groups import common

    records = listing.records
    text = _text(
        listing, runs_table(records, sort), common([record.given for record in records]), len(records)
    )
    return text, {"runs": list(map(run_record, records)), "skipped": listing.skipped}


def _grouped(listing: Listing, sort: str, over: list[str]) -> tuple[str, dict[str, Any]]:
    from lit_mlfund.reports.comparison.run_table import group_record, groups_table
    from lit_mlfund.run_folders.groups import common, groups

    grouped = groups(listing.records, over)
    text = _text(
        listing, groups_table(grouped, sort), common([group.given for group in grouped]), listing.total
    )
    return text, {"over": over, "groups": list(map(group_record, grouped)), "skipped": listing.skipped}


def _text(listing: Listing, table: tuple[list[str], list[list[str]]], shared: list[str], shown: int) -> str:
    """Format the table, what all of its rows were given, and how many folders it leaves out."""
    from lit_mlfund.reports.comparison.run_table import fit_given
    from lit_mlfund.reports.terminal import table_text, wrap

    width = OUTPUT.screen.text_width
    lines = [wrap(f"all were given {' '.join(shared)}", width)] if shared else []
    if table[1]:
        lines.append(table_text(*fit_given(table, OUTPUT.screen.width), rest="with --json"))
    total = f"{listing.total:,} runs" if listing.total != 1 else "1 run"
    if shown != listing.total:
        total = f"{shown:,} of {total} (last=all shows all)"
    lines.append(f"{total} in {listing.root}")
    if skipped := listing.skipped:
        more = f" and {len(skipped) - _SHOWN:,} more" if len(skipped) > _SHOWN else ""
        named = ", ".join(str(folder.relative_to(listing.root)) for folder in skipped[:_SHOWN])
        noun = "folder is no run or damaged" if len(skipped) == 1 else "folders are no runs or damaged"
        lines.append(wrap(f"skipped: {len(skipped):,} {noun}: {named}{more}", width))
    return "\n".join(lines)
