"""Runs the harness: `python -m tests.faults --seed 0 --count 200 --cases lean,plain`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> int:
    """Kill runs as asked, print what went wrong, and return 1 if anything did."""
    from tests.faults.cases import CASES, SWEEPS
    from tests.faults.killing import kill_all

    parser = argparse.ArgumentParser(description="Kill runs, resume them, compare to the bit.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200, help="kills at random moments, over all cases")
    parser.add_argument("--cases", default=",".join(CASES | SWEEPS), help="names, separated by commas")
    parser.add_argument(
        "--every", type=int, default=1, help="kill at each n-th operation on a file; 0 at none"
    )
    options = parser.parse_args()
    names = options.cases.split(",")
    if unknown := set(names) - set(CASES | SWEEPS):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES | SWEEPS)}")
    started, kills, faulty = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        work = Path(folder, "work")
        for name, _, faults in kill_all(
            work, names, options.seed, options.count, options.every > 0, max(options.every, 1)
        ):
            kills += 1
            faulty += bool(faults)
            for line in faults:
                print(line, flush=True)
            if kills % 25 == 0:
                print(
                    f"{kills} kills, {faulty} with faults, {name}, {time.monotonic() - started:.0f} s",
                    flush=True,
                )
    print(f"{kills} kills, {faulty} with differences or debris, {time.monotonic() - started:.0f} s")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
