"""Implements `mlfund leaderboard`, which ranks the runs of folders or of a sweep."""

from __future__ import annotations

from pathlib import Path

from lit_mlfund.atomic import to_json, write_text
from lit_mlfund.cli.keys import is_run_word, read_keys
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.run_folders.directions import direction
from lit_mlfund.run_folders.listing import TIME, list_runs, sorted_runs
from lit_mlfund.run_folders.locks import locked_files
from lit_mlfund.run_folders.names import RUNS_DIR, find_folder, moved_run
from lit_mlfund.run_folders.record import Record, read, read_record
from lit_mlfund.run_folders.search import is_sweep
from lit_mlfund.startup.streams import OUTPUT, say_json, say_result

_KEYS = ("task", "sort", "output")
_SHOWN = 20  # rows in the terminal


def run(arguments: list[str]) -> int:
    """Check the arguments, write table and page, print the best runs, and return the exit code."""
    words = [word for word in arguments if is_run_word(word, _KEYS)]
    values = read_keys([word for word in arguments if word not in words], _KEYS)
    folders = [find_folder(word) for word in dict.fromkeys(words)] or [Path(RUNS_DIR).absolute()]
    output = Path(values.get("output", "leaderboard.html")).expanduser().absolute()
    if output.suffix != ".html" or not output.parent.is_dir() or output.is_dir():
        raise ConfigError(f"output: expected a file that ends in .html in a folder that exists, got {output}")
    found = {record.folder: record for folder in folders for record in _records(folder, values.get("task"))}
    if not found:
        raise ConfigError(f"there is no run in {', '.join(map(str, folders))}")
    column = values.get("sort", "objective")
    if column == TIME:
        raise ConfigError("sort: a leaderboard needs a value: objective, its name or test/<metric>")
    records = sorted_runs(list(found.values()), column)
    from lit_mlfund.reports.comparison.board import Board, board_csv
    from lit_mlfund.reports.comparison.board_page import board_page
    from lit_mlfund.reports.comparison.run_table import fit_given, run_record, runs_table
    from lit_mlfund.reports.terminal import table_text

    name = records[0].objective[0] if column == "objective" else column
    board = Board(records, name, direction(name, records))
    write_text(table := output.with_suffix(".csv"), board_csv(board))
    write_text(output, board_page(board, ", ".join(folder.name for folder in folders), output.parent))
    shown = fit_given(runs_table(records[:_SHOWN], column), OUTPUT.screen.width)
    lines = [table_text(*shown)]
    if len(records) > _SHOWN:
        lines.append(f"… and {len(records) - _SHOWN} more in the report")
    told = say_result("\n".join([*lines, f"report: {output}", f"table:  {table}"]))
    result = {"sorted_by": name, "runs": [run_record(record) for record in records]}
    return 0 if say_json(to_json({**result, "report": output, "table": table})) and told else 2


def _records(folder: Path, task: str | None) -> list[Record]:
    """Return the runs of a sweep, or all below a folder."""
    if not is_sweep(folder):
        return list_runs(folder, task).records
    jobs = [read(file) for file in (folder / "jobs").glob("[0-9]*.json")]
    runs = [moved_run(Path(str(job["run"])), folder) for job in jobs if job.get("run")]
    locked = locked_files()
    records = [read_record(run, locked) for run in dict.fromkeys(runs) if run is not None]
    return [record for record in records if record is not None and task in (None, record.task)]
