"""Executes a run as all processes of an outer launcher, which agree on its folder, and end with one message."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lit_mlfund.atomic import write_json
from lit_mlfund.cluster.job import JobRecord, is_restarted, job_name
from lit_mlfund.cluster.peers import joined
from lit_mlfund.config.errors import problems_of
from lit_mlfund.runs.execution.crash import is_consequence
from lit_mlfund.runs.execution.run_folder import freeze
from lit_mlfund.runs.execution.way_on import (
    CRASH,
    FAILED,
    WRONG_INPUT,
    exit_code,
    go_on,
    stopped_result,
    tell,
)
from lit_mlfund.startup.signals import INTERRUPTED, STOPPED, Stopped
from lit_mlfund.startup.streams import warn


@dataclass(frozen=True)
class Decision:
    """Says which folder a run is executed in.

    folder  the run folder
    how     `new`, `resume` where it was interrupted, `ended` where nothing is left to do
    """

    folder: str
    how: Literal["new", "resume", "ended"]


def new_folder(config: dict[str, Any], command: Sequence[str], has_ended: Callable[[Path], bool]) -> Decision:
    """Return the folder of this job's run if the job was started before, else make one.

    Args:
        config: checked, resolved configuration.
        command: the command line, as typed.
        has_ended: tells whether the run in a folder has ended.
    """
    record = None
    if (job := job_name()) is not None:
        record = JobRecord(Path(config["runs_dir"]).expanduser().absolute(), job, config)
        if is_restarted() and (folder := record.folder()) is not None:
            return Decision(str(folder), "ended" if has_ended(folder) else "resume")
    folder = freeze(config, command)
    if record is not None:
        record.remember(folder)
    return Decision(str(folder), "new")


def together(decide: Callable[[], Decision], execute: Callable[[Decision], dict[str, Any]]) -> dict[str, Any]:
    """Return what `execute` returns for what the first process decides.

    Where another process fails, is stopped or is lost, this one ends here.
    """
    words = _Words()
    with joined(words.tell) as peers:
        if peers is None:
            return execute(decide())
        try:
            decision = Decision(**peers.agree(lambda: asdict(decide())))
            words.folder = Path(decision.folder)
            result = execute(decision)
        except Stopped as stopped:
            peers.leave(int(str(stopped.code)))
            raise
        except Exception as error:
            if is_consequence(error):
                peers.wait_for_verdict()
            problems = problems_of(error)
            peers.leave(
                FAILED if problems is None else WRONG_INPUT,
                "\n".join(problems or [f"{type(error).__name__}: {error}"]),
            )
            raise
        peers.leave(exit_code(result))
        return result


class _Words:
    """Tells in this process why another one has ended all."""

    def __init__(self) -> None:
        self.folder: Path | None = None

    def tell(self, verdict: dict[str, Any]) -> int:
        """Print a verdict, and return the exit code."""
        code, text = int(verdict["code"]), str(verdict.get("text", ""))
        if self.folder is not None and code == CRASH:
            return tell(json.loads((self.folder / "result.json").read_text(encoding="utf-8")))
        if self.folder is not None and code in STOPPED.values():
            number = signal.SIGINT if code == INTERRUPTED else signal.SIGTERM
            result = stopped_result(Stopped(number=number), self.folder)
            write_json(self.folder / "result.json", result)
            return tell(result)
        if code == WRONG_INPUT:
            warn(f"mlfund: {text}")
        else:
            on = f"; {go_on(self.folder)}" if self.folder is not None else ""
            warn(f"mlfund: failed: {text}{on}")
        return code
