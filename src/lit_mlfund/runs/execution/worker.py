"""Runs as one of several processes: `-m lit_mlfund.runs.execution.worker <run>`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lit_mlfund.atomic import write_json
from lit_mlfund.config.errors import problems_of
from lit_mlfund.runs.execution.crash import CRASHED, is_consequence, record_crash
from lit_mlfund.runs.execution.launch import execute_here
from lit_mlfund.runs.execution.workers import PROBLEMS_FILE
from lit_mlfund.startup.parent import end_with_parent
from lit_mlfund.startup.signals import REQUEST, STOPPED, Stopped
from lit_mlfund.startup.streams import OUTPUT


def main(arguments: list[str]) -> int:
    """Execute the run in `arguments[0]`, and return the exit code of this process."""
    end_with_parent()
    OUTPUT.follow_parent()
    try:
        with REQUEST.installed():
            result = execute_here(Path(arguments[0]), resume="--resume" in arguments[1:])
    except Stopped as stopped:
        return int(str(stopped.code))
    except Exception as error:
        problems = problems_of(error)
        if problems is None:
            if is_consequence(error):
                return 3
            record_crash(Path(arguments[0]), error, step=0)
            return 1
        if PROBLEMS_FILE in os.environ:
            write_json(os.environ[PROBLEMS_FILE], problems)
        return 2
    return 1 if result["status"] == CRASHED else STOPPED.get(result["status"], 0)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code:
        # not `sys.exit`: what libraries do at exit may wait for a process that is gone
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
