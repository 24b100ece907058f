"""Runs as one of several processes: torch's elastic launcher starts `-m lit_mlfund.runs.execution.worker <run>`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lit_mlfund.atomic import write_json
from lit_mlfund.config.errors import problems_of
from lit_mlfund.runs.execution.crash import CRASHED
from lit_mlfund.runs.execution.launch import PROBLEMS_FILE, execute_here


def main(arguments: list[str]) -> int:
    """Execute the run in `arguments[0]`, and return the exit code of this process."""
    try:
        result = execute_here(Path(arguments[0]), resume="--resume" in arguments[1:])
    except Exception as error:
        problems = problems_of(error)
        if problems is None:
            raise
        if PROBLEMS_FILE in os.environ:
            write_json(os.environ[PROBLEMS_FILE], problems)
        return 2
    return 1 if result["status"] == CRASHED else 0  # the launcher then ends the other processes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
