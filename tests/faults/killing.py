"""Kills runs at every operation on a file and at random moments, resumes them, and compares."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import comparison, fork_server
from tests.faults.cases import CASES, SWEEPS, write_inputs
from tests.faults.fork_server import Kill

ALL_CASES = CASES | SWEEPS
# Python's own end, where a signal comes before the handler stands, and ours
ENDS = {signal.SIGTERM: (0, 143, -15), signal.SIGINT: (0, 130, -2), signal.SIGKILL: (0, -9)}


class Case:
    """Runs one case undisturbed, then again and again with a kill.

    Args:
        name: one of `CASES`.
        folder: an empty folder, two levels below which the runs work.
    """

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        folder.mkdir()
        write_inputs(folder)
        self.arguments = ("train", *ALL_CASES[name])
        self.whole = fork_server.run(folder / "whole", self.arguments)
        assert self.whole.code == 0, self.whole.output
        self.expected = runs(folder / "whole")[0]

    def moments(self, generator: random.Random, count: int) -> Iterator[Kill]:
        """Yield random kills; one in three is a signal that can be caught."""
        for _ in range(count):
            number = generator.choice([signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT])
            yield Kill(number, after=generator.uniform(0.005, 1.1 * self.whole.seconds))

    def operations(self) -> Iterator[Kill]:
        """Yield a kill at every operation on a file."""
        for number in range(1, self.whole.operations + 1):
            yield Kill(operation=number)

    def faults(self, kill: Kill) -> list[str]:
        """Disturb a run, resume it, and return what is wrong."""
        folder = self.folder / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        found = self._faults(folder, kill)
        return [f"{self.name}, {kill}: {line}" for line in found]

    def _faults(self, folder: Path, kill: Kill) -> list[str]:
        first = fork_server.run(folder, self.arguments, kill)
        if first.code not in ENDS[signal.Signals(kill.number)] or "Traceback" in first.output:
            return [f"ended with {first.code}: {first.output[-1500:]}"]
        started = runs(folder)
        if not started:  # killed before there was anything to resume
            shutil.rmtree(folder / "runs", ignore_errors=True)
            ended = fork_server.run(folder, self.arguments)
        elif first.code == 0 or _has_ended(started[0]):
            ended = first if first.code == 0 else None
        else:
            ended = fork_server.run(folder, ("train", f"run={started[0]}"))
        if ended is not None and (ended.code != 0 or "Traceback" in ended.output):
            return [f"resumed, ended with {ended.code}: {ended.output[-1500:]}"]
        started = runs(folder)
        if len(started) != 1:
            return [f"{len(started)} run folders"]
        lines = comparison.debris(folder, started[0], self.folder / "whole", self.expected)
        try:
            return lines + list(comparison.differences(started[0], self.expected))[:5]
        except Exception as error:
            return [*lines, f"cannot be compared: {type(error).__name__}: {error}"]


class SweepCase(Case):
    """Runs one sweep undisturbed, then again and again with a kill, and with the same command again."""

    def _faults(self, folder: Path, kill: Kill) -> list[str]:
        ended = fork_server.run(folder, self.arguments, kill)
        if ended.code not in ENDS[signal.Signals(kill.number)] or "Traceback" in ended.output:
            return [f"ended with {ended.code}: {ended.output[-5000:]}"]
        if ended.code == 0:  # it was not disturbed
            return []
        ended = fork_server.run(folder, self.arguments)
        if ended.code != 0 or "Traceback" in ended.output:
            return [f"the same command again ended with {ended.code}: {ended.output[-1500:]}"]
        lines = [f"too much: {path}" for path in folder.rglob(".*") if path.name != ".lock"]
        if len(started := runs(folder)) != len(runs(self.folder / "whole")):
            lines.append(f"{len(started)} run folders")
        found, wanted = (jobs(part) for part in (folder, self.folder / "whole"))
        if found.keys() != wanted.keys():
            return [*lines, f"jobs {sorted(found)} instead of {sorted(wanted)}"]
        for number, run in found.items():
            try:
                lines += list(comparison.differences(run, wanted[number]))[:3]
            except Exception as error:
                lines.append(f"job {number} cannot be compared: {type(error).__name__}: {error}")
        return lines


def jobs(folder: Path) -> dict[int, Path]:
    """Return the run folder of each job of the only sweep below a working folder."""
    files = sorted(folder.glob("runs/sweeps/*/jobs/*.json"))
    return {int(file.stem): Path(json.loads(file.read_text())["run"]) for file in files}


def runs(folder: Path) -> list[Path]:
    """Return the run folders below a working folder."""
    return sorted(file.parent for file in folder.glob("runs/*/*/run.yaml"))


def _has_ended(run: Path) -> bool:
    file = run / "result.json"
    return (
        file.exists()
        and json.loads(file.read_text())["status"] == "done"
        and not (run / ".unreported").exists()
    )


def kill_all(
    folder: Path, names: Sequence[str], seed: int, count: int, operations: bool, every: int = 1
) -> Iterator[tuple[str, Kill, list[str]]]:
    """Kill the runs of the named cases, `count` times in all at random moments; yield each kill with its faults.

    operations: also kill at every operation on a file; with `every`=n at each n-th.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "warm").mkdir()
    write_inputs(folder)
    generator = random.Random(seed)
    for number, name in enumerate(names):
        fork_server.import_everything(folder / "warm", ("train", *ALL_CASES[name]))
        case = (SweepCase if name in SWEEPS else Case)(name, folder / name)
        share = count // len(names) + (number < count % len(names))
        kills = list(case.moments(generator, share))
        if operations:
            kills += list(case.operations())[generator.randrange(every) :: every]
        for kill in kills:
            yield name, kill, case.faults(kill)
