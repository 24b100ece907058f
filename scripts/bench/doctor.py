"""How often the doctor names a planted fault, and how often it accuses a healthy run.

Every recipe is trained on every data set that it fits, with each seed. A planted fault counts as found where the first
finding has its name or an accepted equivalent; a healthy run counts as accused where any finding is a warning or an
error. A fault is there if its twin, the same run without it, has a better test metric beyond both intervals; one that
is not is listed apart. Thresholds were set on the recipes of the half `tuning` alone; quote the half `report`.

python scripts/bench/doctor.py
python scripts/bench/doctor.py --half report --seeds 0 1 2
python scripts/bench/doctor.py --only memorised rate_too_low --data noisy
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from doctor_recipes import FAULTS, HEALTHY, SOURCES, write_tables

import lit_mlfund

QUIET = ("logger=none", "trainer.log_every_n_steps=10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = [recipe.name for recipe in (*FAULTS, *HEALTHY)]
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    parser.add_argument("--half", choices=["tuning", "report", "both"], default="both")
    parser.add_argument("--data", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--no-twins", action="store_true", help="do not show that the faults are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_tables(Path(folder))
        rows = []
        print("| half | kind | recipe | data | seed | there | first finding | right |")
        print("|---|---|---|---|---|---|---|---|")
        for row in measured(options):
            print("| " + " | ".join(str(row[key]) for key in row) + " |", flush=True)
            rows.append(row)
    print()
    for line in summary(rows):
        print(line)


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each recipe, data set and seed."""
    twins: dict[tuple[str, int, tuple[str, ...]], dict[str, Any]] = {}
    for recipe in (*FAULTS, *HEALTHY):
        if recipe.name not in options.only or options.half not in ("both", recipe.half):
            continue
        for source in recipe.sources:
            for seed in options.seeds if source in options.data else ():
                result, findings = train(source, seed, (*recipe.sound, *recipe.fault))
                loud = [finding["name"] for finding in findings if finding["severity"] != "info"]
                there = ""
                if recipe.names and result["status"] == "done" and not options.no_twins:
                    key = (source, seed, recipe.sound)
                    if key not in twins:
                        twins[key] = train(source, seed, recipe.sound)[0]
                    there = worse(*((twins[key], result) if recipe.flatters else (result, twins[key])))
                elif recipe.names:
                    there = result["status"]
                first = loud[0] if loud else "–"
                yield {
                    "half": recipe.half,
                    "kind": "fault" if recipe.names else "healthy",
                    "recipe": recipe.name,
                    "data": source,
                    "seed": seed,
                    "there": there,
                    "first": first,
                    "right": first in recipe.names if recipe.names else not loud,
                }


def train(source: str, seed: int, overrides: tuple[str, ...]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train a run and return its result and its findings, whether it ended or stopped."""
    lines = [*SOURCES[source], *QUIET, f"seed={seed}", *overrides]
    try:
        run = lit_mlfund.train(lines, verbose=False)
    except RuntimeError as error:
        run = lit_mlfund.load_run(str(error).rpartition("(")[2].rstrip(")"), trust=["doctor_recipes"])
    return run.result, run.findings


def worse(result: dict[str, Any], twin: dict[str, Any]) -> str:
    """Return the metrics in which a run is worse than its twin, beyond both intervals."""
    falling = ("log_loss", "rmse", "mae", "brier", "ece", "median_ae")
    metrics = []
    for name, entry in result["test"].items():
        other = twin["test"][name]
        if name != "ece_null" and entry["low"] is not None and other["low"] is not None:
            behind = entry["low"] > other["high"] if name in falling else entry["high"] < other["low"]
            metrics += [name] * behind
    return " ".join(metrics) or "no"


def summary(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield for each half the share of faults that were named, and of healthy runs that were accused."""
    halves: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in rows:
        if row["there"] != "no":
            halves[row["half"], row["kind"]].append(row["right"])
    for (half, kind), right in sorted(halves.items()):
        what = "named first" if kind == "fault" else "left in peace"
        yield f"{half}: {sum(right)} of {len(right)} {kind} runs {what}"
    absent = [row for row in rows if row["there"] == "no"]
    if absent:
        yield f"{len(absent)} faults made no difference and are not counted"


if __name__ == "__main__":
    main()
