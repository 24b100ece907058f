"""Finds the run that a word stands for: a folder, `latest`, `latest-2`, a piece of a name, `sweep-name/3`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.run_folders.record import read
from lit_mlfund.run_folders.search import find_runs, find_sweeps, is_sweep, name_of

RUNS_DIR = "runs"  # in the working folder, as `runs_dir` of the configuration
_LATEST = re.compile(r"latest(?:-(\d+))?")
_SHOWN = 8  # candidates in a message


def find_run(word: str, runs_dir: str | Path = RUNS_DIR) -> Path:
    """Return the run folder that `word` stands for.

    A folder is itself, whatever it holds. `latest` is the newest run below `runs_dir`, `latest-2` the second before
    it; `sweep-name/3` is job 3 of the sweep of which that is a piece of the name. `folder/latest` and the like look
    in `folder` instead of `runs_dir`.

    Raises:
        ConfigError: none fits, or several do: with the candidates.
    """
    folder = Path(word).expanduser().absolute()
    if folder.is_dir():
        return folder
    head, slash, tail = word.rstrip("/").rpartition("/")
    around = Path(head).expanduser().absolute()
    if slash and tail.isdigit() and (sweeps := _sweeps(head, around, Path(runs_dir))):
        return _job(word, _only(word, sweeps, "sweeps"), int(tail))
    if slash and not around.is_dir():
        sweep = f", and no sweep in {runs_dir} has {head} in its name" if tail.isdigit() else ""
        raise ConfigError(f"run: there is no folder {folder}{sweep}")
    root, piece = (around, tail) if slash else (Path(runs_dir).expanduser().absolute(), word)
    runs = find_runs(root).runs
    if match := _LATEST.fullmatch(piece):
        back = int(match[1] or 0)
        if back >= len(runs):
            raise ConfigError(f"run: {word}: {_count(len(runs), root)}")
        return runs[back]
    fitting = [run for run in runs if piece in name_of(run)]
    if not fitting:
        known = f"; the latest are {_listed(runs)}" if runs else ""
        raise ConfigError(
            f"run: there is no folder {folder}, and no run in {root} has {piece} in its name{known}"
        )
    return _only(word, fitting, "runs")


def _sweeps(head: str, around: Path, runs_dir: Path) -> list[Path]:
    """Return the sweeps that `head` may mean: a folder of one, or pieces of their names."""
    if around.is_dir():
        return [around] if is_sweep(around) else []
    return [folder for folder in find_sweeps(runs_dir.expanduser().absolute()) if head in folder.name]


def _job(word: str, sweep: Path, number: int) -> Path:
    """Return the folder of a job's run."""
    record = read(sweep / "jobs" / f"{number}.json")
    if not record:
        jobs = sorted(int(file.stem) for file in (sweep / "jobs").glob("*.json") if file.stem.isdigit())
        ended = f"; those that have ended: {', '.join(map(str, jobs[:_SHOWN]))}" if jobs else ""
        raise ConfigError(f"run: {word}: {sweep.name} has no job {number}{ended}")
    if not record.get("run"):
        raise ConfigError(
            f"run: {word}: job {number} has no folder: {record.get('reason', 'it did not start')}"
        )
    folder = Path(str(record["run"]))
    moved = moved_run(folder, sweep)
    if moved is None:
        raise ConfigError(f"run: {word}: the folder of job {number} is gone: {folder}")
    return moved


def moved_run(folder: Path, sweep: Path) -> Path | None:
    """Return the folder of a sweep's run: where the sweep was moved, the one of that name in its new place."""
    if folder.is_dir():
        return folder
    return next((run for run in find_runs(sweep.parent.parent).runs if run.name == folder.name), None)


def find_folder(word: str, runs_dir: str | Path = RUNS_DIR) -> Path:
    """Return the folder of runs, or of a sweep, that `word` stands for: itself, or a piece of the name of a sweep.

    Raises:
        ConfigError: none fits, or several do: with the candidates.
    """
    folder = Path(word).expanduser().absolute()
    if folder.is_dir():
        return folder
    sweeps = find_sweeps(Path(runs_dir).expanduser().absolute())
    fitting = [sweep for sweep in sweeps if word in sweep.name]
    if not fitting:
        known = f"; the latest are {_listed(sweeps)}" if sweeps else ""
        raise ConfigError(
            f"there is no folder {folder}, and no sweep in {runs_dir} has {word} in its name{known}"
        )
    return _only(word, fitting, "sweeps")


def _only(word: str, fitting: Sequence[Path], kind: str) -> Path:
    exact = [folder for folder in fitting if folder.name == word]
    if len(fitting) > 1 and len(exact) != 1:
        raise ConfigError(f"run: {word} fits {len(fitting)} {kind}: {_listed(fitting)}")
    return exact[0] if exact else fitting[0]


def _listed(folders: Sequence[Path]) -> str:
    more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
    return ", ".join(map(name_of, folders[:_SHOWN])) + more


def _count(runs: int, root: Path) -> str:
    if not root.is_dir():
        return (
            f"there is no folder {root}; name the run's folder, or change to the folder that has {root.name}/"
        )
    return f"there {'is 1 run' if runs == 1 else f'are {runs} runs' if runs else 'is no run'} in {root}"
