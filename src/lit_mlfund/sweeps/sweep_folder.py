"""Keeps what a sweep has done in its folder, by which the same command goes on with it, on any machine.

sweep.json      the command, its digest, and how the folders of its runs begin
jobs/N.json     how job N ended
leases/N.G      the process that is at work on job N (`lease`)
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shlex
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import remove_unfinished, write_json
from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.lock import is_locked
from lit_mlfund.runs.execution.run_folder import RUN_FILE, absolute_paths, status_of
from lit_mlfund.startup.signals import REQUEST, STOPPED
from lit_mlfund.startup.streams import warn
from lit_mlfund.sweeps.lease import Lease, acquire, create, holder

SWEEP_FILE = "sweep.json"
ENDED_WELL = ("done", "pruned")
BUDGETS = ("trials", "minutes")  # of a search: with more of them the same search goes on
_POLL = 0.5  # seconds between two looks at what other processes do


def digest_of(configs: Sequence[Mapping[str, Any]]) -> str:
    """Return what identifies the command of a sweep: its configurations, in order, but not where they are written."""
    told = []
    for config in configs:
        search = config.get("sweep")
        told.append(
            {
                **{key: value for key, value in config.items() if key not in ("runs_dir", "run")},
                "data": absolute_paths(config["data"]),
                "sweep": search and {key: value for key, value in search.items() if key not in BUDGETS},
            }
        )
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


class SweepFolder:
    """Reads and writes the folder of one sweep.

    Args:
        path: the folder; nothing is created before `begin`.
        name: of the sweep, in the names of its runs.
        digest: that of its command.
        command: the command line as typed.
    """

    def __init__(self, path: Path, name: str, digest: str, command: Sequence[str] = ()):
        self.path, self.name, self.digest, self.command = path, name, digest, tuple(command)
        self.runs_begin_with = str((self._recorded() or {}).get("runs", ""))
        self.reruns_failed = True
        self._failed_before: dict[int, tuple[int, int]] = {}
        self._entered: int | None = None  # the descriptor by which this process says that it writes here

    @classmethod
    def locate(
        cls, parent: Path, name: str, digest: str, command: Sequence[str] = (), *, fresh: bool = False
    ) -> SweepFolder:
        """Find the sweep of a command below `parent`, or a place for it; `fresh` asks for a new one."""
        stem = f"{name}-{digest[:10]}"
        pattern = re.compile(re.escape(stem) + r"(?:-(\d+))?")
        found = [pattern.fullmatch(folder.name) for folder in parent.iterdir()] if parent.is_dir() else []
        number = max((int(match[1] or 1) for match in found if match), default=0)
        number = number + 1 if fresh else max(number, 1)
        return cls(parent / (stem if number == 1 else f"{stem}-{number}"), name, digest, command)

    def check(self, fresh: bool = False) -> None:
        """Raise ConfigError where the folder holds the sweep of another command, or is not to be used again."""
        recorded = self._recorded()
        if recorded is None and not self.results():
            return
        if recorded is None or recorded["digest"] != self.digest:
            whose = f": {recorded['command']}" if recorded else ""
            raise ConfigError(
                f"hydra.sweep.dir: {self.path} holds the sweep of another command{whose}; name another folder"
            )
        if fresh:
            raise ConfigError(f"--fresh: {self.path} holds this sweep; name another hydra.sweep.dir")

    def begin(self) -> None:
        """Create the folder, or go on with it; of several processes that begin, one decides the names of the runs.

        `leave` ends what it begins.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._enter()
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        content = {
            "digest": self.digest,
            "runs": f"{stamp}-{self.name}-{secrets.token_hex(3)}",
            "command": shlex.join(self.command),
        }
        create(self.path / SWEEP_FILE, content)
        self.runs_begin_with = str((self._recorded() or content)["runs"])
        failed = (number for number, result in self.results().items() if result["status"] == "failed")
        self._failed_before = {number: self._written(number) for number in failed}

    def _enter(self) -> None:
        """Remove what killed processes have left, if nobody else is in the folder, and be in it until `leave`.

        Leases alone would not do: a process writes before it has one, and between two of them.
        """
        self._entered = os.open(self.path, os.O_RDONLY)
        with suppress(OSError):  # another one is in it, or the file system has no locks
            fcntl.flock(self._entered, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not any(holder(self.leases, name) for name in _leased_names(self.leases)):  # of other machines
                remove_unfinished(self.path)
        with suppress(OSError):
            fcntl.flock(self._entered, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Say that this process writes no more in the folder."""
        if self._entered is not None:
            os.close(self._entered)
            self._entered = None

    @property
    def leases(self) -> Path:
        return self.path / "leases"

    def exists(self) -> bool:
        """Return whether the sweep was begun before."""
        return self._recorded() is not None

    def _recorded(self) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads((self.path / SWEEP_FILE).read_text(encoding="utf-8"))
            return content if content["digest"] and content["runs"] else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    # --- results --------------------------------------------------------------------------------------

    def result(self, number: int) -> dict[str, Any] | None:
        """Return how a job ended; None where it did not, or its run folder is gone."""
        try:
            result: dict[str, Any] = json.loads(self._file(number).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return None if result.get("run") and not Path(result["run"]).exists() else result

    def results(self) -> dict[int, dict[str, Any]]:
        """Return how the jobs ended, by number, in order."""
        files = (self.path / "jobs").glob("*.json")
        found = {
            number: self.result(number) for number in sorted(int(f.stem) for f in files if f.stem.isdigit())
        }
        return {number: result for number, result in found.items() if result is not None}

    def record(self, number: int, result: dict[str, Any]) -> None:
        """Write how a job ended, unless this process was stopped because another one has ended it."""
        if result["status"] in STOPPED and (self.result(number) or result)["status"] in ENDED_WELL:
            return
        (self.path / "jobs").mkdir(parents=True, exist_ok=True)
        write_json(self._file(number), result)

    def _file(self, number: int) -> Path:
        return self.path / "jobs" / f"{number}.json"

    def _written(self, number: int) -> tuple[int, int]:
        state = self._file(number).stat()
        return state.st_ino, state.st_mtime_ns

    def has_ended_well(self, number: int) -> bool:
        """Return whether a job needs never run again."""
        result = self.result(number)
        return result is not None and result["status"] in ENDED_WELL

    def has_to_run(self, number: int) -> bool:
        """Return whether a job is missing, was stopped, or had failed before this process began."""
        result = self.result(number)
        if result is None or result["status"] not in (*ENDED_WELL, "failed"):
            return True
        failed = result["status"] == "failed" and self.reruns_failed
        return failed and self._written(number) == self._failed_before.get(number)

    # --- runs -----------------------------------------------------------------------------------------

    def run_folder(self, number: int, config: Mapping[str, Any]) -> Path:
        """Return the folder for the run of a job: the one that was begun, or another one where that has failed."""
        runs = Path(config["runs_dir"]).expanduser().absolute() / task_name(dict(config))
        first = folder = runs / f"{self.runs_begin_with}-{number:03d}"
        attempt = 1
        while _is_of_no_use(folder, self.reruns_failed):
            attempt += 1
            folder = first.with_name(f"{first.name}-{attempt}")
        return folder

    # --- leases ---------------------------------------------------------------------------------------

    @contextmanager
    def leased(self, number: int) -> Iterator[Lease | None]:
        """Hold the lease of a job in a block; None where a living process has it."""
        lease = acquire(self.leases, str(number))
        try:
            yield lease
        finally:
            if lease is not None:
                lease.release()

    def take(
        self, waiting: dict[int, Mapping[str, Any]], held: ExitStack, most: int | None = None
    ) -> list[int]:
        """Lease jobs that have to run until `held` ends; while other processes are at all of them, wait.

        Args:
            waiting: the configurations of the jobs, by number; those that need not run are removed.
            held: ends the leases.
            most: the number of jobs to lease.

        Returns:
            The numbers of the jobs; none where no job has to run.
        """
        told = False
        while True:
            mine: list[int] = []
            for number in list(waiting):
                if not self.has_to_run(number):
                    del waiting[number]
                elif self._taken(number, waiting[number], held):
                    mine.append(number)
                    if len(mine) == most:
                        break
            if mine or not waiting:
                return mine
            if not told:
                told = True
                self._tell_waiting(list(waiting))
            time.sleep(_POLL)
            REQUEST.check()

    def _taken(self, number: int, config: Mapping[str, Any], held: ExitStack) -> bool:
        with ExitStack() as own:
            lease = own.enter_context(self.leased(number))
            free = lease is not None and not is_locked(self.run_folder(number, config))
            if free and self.has_to_run(number):
                held.push(own.pop_all())
                return True
        return False

    def turns(self, configs: Mapping[int, Mapping[str, Any]]) -> Generator[int]:
        """Yield each job that has to run, leased until the next one is asked for; wait for those of other processes."""
        waiting = dict(configs)
        while True:
            with ExitStack() as held:
                mine = self.take(waiting, held, most=1)
                if not mine:
                    return
                yield mine[0]
                del waiting[mine[0]]

    def _tell_waiting(self, numbers: Sequence[int]) -> None:
        at_work = (f"{number} ({self.holder(number) or 'of a process that ends'})" for number in numbers)
        warn(f"sweep: waiting for jobs at work elsewhere: {', '.join(at_work)}")

    def holder(self, number: int) -> str | None:
        """Name the living process that is at work on a job."""
        found = holder(self.leases, str(number))
        return None if found is None else str(found)


def _leased_names(leases: Path) -> set[str]:
    return {file.stem for file in leases.glob("*.*") if not file.name.startswith(".")}


def _is_of_no_use(run_dir: Path, reruns_failed: bool) -> bool:
    """Return whether a folder holds a run that failed, or what is left of one."""
    if not run_dir.exists() or not (run_dir / RUN_FILE).exists():
        return run_dir.exists()
    return reruns_failed and status_of(run_dir) == "failed"
