"""Implements `mlfund compare`, which sets runs side by side."""

from __future__ import annotations

from pathlib import Path

from lit_mlfund.atomic import to_json, write_text
from lit_mlfund.cli.keys import is_run_word, read_keys
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.run_folders.groups import groups
from lit_mlfund.run_folders.locks import locked_files
from lit_mlfund.run_folders.names import find_run
from lit_mlfund.run_folders.record import Record, read_record
from lit_mlfund.startup.streams import say_json, say_result

_KEYS = ("over", "output")


def run(arguments: list[str]) -> int:
    """Check the arguments, compare, write the page, print the tables, and return the exit code."""
    words = [word for word in arguments if is_run_word(word, _KEYS)]
    values = read_keys([word for word in arguments if word not in words], _KEYS)
    records, problems = _records(words)
    output = Path(values.get("output", "compare.html")).expanduser().absolute()
    if output.suffix != ".html" or not output.parent.is_dir() or output.is_dir():
        problems.append(f"output: expected a file that ends in .html in a folder that exists, got {output}")
    if problems:
        raise ConfigError(problems)
    over = [key for key in values.get("over", "").split(",") if key]
    from lit_mlfund.reports.comparison.compare import compare, compare_groups
    from lit_mlfund.reports.comparison.compare_page import compare_page
    from lit_mlfund.reports.comparison.compare_text import compare_text, comparison_record

    if over:
        grouped = groups(records, over)
        if len(grouped) < 2:
            raise ConfigError(
                f"over: the runs differ in {' and '.join(over)} alone; compare them without over="
            )
        comparison = compare_groups(grouped, over)
    else:
        from lit_mlfund.runs.execution.run_folder import load_frozen

        comparison = compare(records, [load_frozen(record.folder) for record in records])
    write_text(output, compare_page(comparison, output.parent))
    told = say_result(f"{compare_text(comparison)}\n\nreport: {output}")
    return 0 if say_json(to_json({**comparison_record(comparison), "report": output})) and told else 2


def _records(words: list[str]) -> tuple[list[Record], list[str]]:
    """Return the records of the runs that were named, and what is wrong with these."""
    problems, folders = [], []
    for word in words:
        try:
            folders.append(find_run(word))
        except ConfigError as error:
            problems += error.problems
    if len(words) < 2:
        problems.append("name two or more runs: mlfund compare latest-1 latest")
    if twice := {folder for folder in folders if folders.count(folder) > 1}:
        problems += [f"run: {folder} is named twice" for folder in sorted(twice)]
    locked = locked_files()
    records = []
    for folder in dict.fromkeys(folders):
        record = read_record(folder, locked)
        if not (folder / "run.yaml").is_file():
            problems.append(f"run: {folder} is not a run folder: it has no run.yaml")
        elif record is None:
            problems.append(f"run: {folder / 'result.json'} is damaged")
        else:
            records.append(record)
    return records, problems
