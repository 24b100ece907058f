"""What a sweep of small runs costs: in one process, in a process each, and stacked; and the memory that it takes.

    python scripts/bench/sweeps.py                    # 50 jobs in one process against a process each
    python scripts/bench/sweeps.py --what stacked
    python scripts/bench/sweeps.py --what memory      # 200 jobs

Times are CPU seconds. A process each is measured on a few and extrapolated; these and the sweep are interleaved.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

SMALL = ["task=binary", "data=breast_cancer", "model=linear", "references=false"]
DIAMONDS = ["task=regression", "data=diamonds", "trainer.max_epochs=2"]
CASES = {  # what `sweep=stacked` is measured on
    "breast_cancer, mlp, 30 epochs": ["task=binary", "data=breast_cancer", "model=mlp"],
    "digits, mlp 64, 30 epochs": [
        "task=multiclass",
        "data=digits",
        "model=mlp",
        "model.hidden=[64]",
        "trainer.max_epochs=30",
        "callbacks=none",
    ],
    "diamonds, linear, batches of 64": [
        "task=regression",
        "data=diamonds",
        "model=linear",
        "data.batch_size=64",
        "trainer.max_epochs=3",
    ],
    "diamonds, mlp, batches of 256": [
        "task=regression",
        "data=diamonds",
        "model=mlp",
        "trainer.max_epochs=3",
    ],
}
MEMBERS = ["seed=0,1,2,3", "optim.lr=1e-3,3e-3,1e-2"]


def cpu_of(*arguments: str) -> float:
    """CPU seconds of one command, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "lit_mlfund", "train", *arguments],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processes(jobs: int, alone: int) -> None:
    """One process for all jobs against a process for each."""
    for logger in ("tensorboard", "files"):
        each = []
        for number in range(alone):
            each.append(cpu_of(*SMALL, f"logger={logger}", f"seed={number}"))
            if number == alone // 2:
                together = cpu_of("-m", *SMALL, f"logger={logger}", f"seed=range(0,{jobs})")
        one = statistics.median(each)
        print(
            f"logger={logger}: {jobs} jobs in one process {together:.1f} s ({together / jobs:.2f} s a job),"
            f" a process each {one:.2f} s a job (median of {alone}): {jobs * one / together:.1f} times",
            flush=True,
        )


def stacked(repeats: int) -> None:
    """`sweep=stacked` against the same sweep job after job, interleaved in one process behind a first run."""
    from lit_mlfund.cli import main

    def cpu(*arguments: str) -> float:
        began = time.process_time()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            assert main(["train", "-m", *arguments]) == 0
        return time.process_time() - began

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        cpu("sweep=stacked", *SMALL, "trainer.max_epochs=1")
        for name, case in CASES.items():
            asked = [*case, "references=false", "logger=files", *MEMBERS]
            together, separate = zip(*((cpu("sweep=stacked", *asked), cpu(*asked)) for _ in range(repeats)))
            one, other = statistics.median(together), statistics.median(separate)
            print(f"{name}: 12 runs {other:.1f} s, stacked {one:.1f} s: {other / one:.1f} times", flush=True)
        os.chdir("/")


def memory(jobs: int) -> None:
    """Resident memory at the start of each job of one sweep."""
    from lit_mlfund.cli import main
    from lit_mlfund.sweeps.job import Job

    seen: list[float] = []
    run = Job.run

    def watched(job: Job, *arguments: object) -> object:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        seen.append(pages * resource.getpagesize() / 2**20)
        return run(job, *arguments)  # type: ignore[arg-type]

    Job.run = watched  # type: ignore[assignment, method-assign]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main(["train", "-m", *SMALL, "trainer.max_epochs=2", f"seed=range(0,{jobs})"])
        os.chdir("/")
    print(
        json.dumps(
            {"MiB at job": {number: round(seen[number]) for number in range(0, jobs, max(jobs // 20, 1))}}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", choices=("processes", "stacked", "memory"), default="processes")
    parser.add_argument("--jobs", type=int, help="default: 50, or 200 for memory")
    parser.add_argument(
        "--alone", type=int, default=8, help="how many processes of one job each are measured"
    )
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    if given.what == "processes":
        processes(given.jobs or 50, given.alone)
    elif given.what == "stacked":
        stacked(given.repeats)
    else:
        memory(given.jobs or 200)


if __name__ == "__main__":
    main()
