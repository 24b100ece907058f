"""Make small wrong changes to the source, one at a time, and report which of them the nearest tests notice.

    python scripts/mutate.py --count 200 --seed 1                 # spread over the whole tree by lines
    python scripts/mutate.py --count 40 --folder runs --jobs 2    # below src/lit_mlfund/runs alone
    python scripts/mutate.py --count 200 --seed 1 --list          # the changes alone

Each change is made in a copy of the tree. The tests that lie nearest to the changed file (scripts/mutation/nearest.py)
run until one fails, or until `--budget` seconds of processor time are used up. A change is noticed if a test fails, or
does not end, that passes in the unchanged copy. Changes after which the program does the same are listed in
scripts/mutation/equivalent.toml, each with its reason, and are not counted. What was found is written to `--output` as
it is found; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from mutation.changes import Change, changes
from mutation.nearest import Nearest
from mutation.warm import Testing, import_libraries

ROOT = Path(__file__).parents[1]
SOURCE = Path("src") / "lit_mlfund"
EQUIVALENT = Path(__file__).parent / "mutation" / "equivalent.toml"


def sample(root: Path, folder: str, count: int, seed: int) -> list[tuple[str, Change]]:
    """Draw changes evenly over the lines of a folder, and in a file evenly over the kinds of change."""
    generator = random.Random(seed)
    files = sorted((root / SOURCE / folder).rglob("*.py"))
    lines = [len(file.read_bytes().splitlines()) for file in files]
    step = sum(lines) / count
    place, passed, number = (
        generator.random() * step,
        0,
        0,
    )  # what one file has no changes for is drawn from the next
    drawn: dict[tuple[str, Change], None] = {}
    for file, length in zip(files, lines):
        passed += length
        while place < passed:
            place, number = place + step, number + 1
        source = file.read_bytes()
        found: dict[str, list[Change]] = {}
        for change in changes(source) if number else []:
            found.setdefault(change.kind, []).append(change)
        while number and any(found.values()):
            left = found[generator.choice([kind for kind, left in found.items() if left])]
            change = left.pop(generator.randrange(len(left)))
            if change.compiles(source):
                drawn[file.relative_to(root).as_posix(), change] = None
                number -= 1
    return list(drawn)


def equivalents() -> set[tuple[str, str, str]]:
    """Return (file, before, after) of the changes that are known to change nothing."""
    listed = tomllib.loads(EQUIVALENT.read_text()).get("change", [])
    return {(change["file"], change["before"], change["after"]) for change in listed}


def copy_tree(target: Path) -> None:
    """Copy what git knows or would add, with compiled source."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    compileall.compile_dir(target / "src", quiet=2)


class Slot:
    """Makes changes in a copy of the tree, one at a time."""

    def __init__(self, tree: Path) -> None:
        self.tree, self.testing, self.key = tree, None, ("", None)
        copy_tree(tree)

    def start(self, name: str, change: Change | None, tests: list[str], budget: float, number: int) -> None:
        """Change a file and start the tests; without a change, start them on the tree as it is."""
        self.key = (name, change)
        if change is not None:
            file = self.tree / name
            self.source, self.times = file.read_bytes(), file.stat()
            file.write_bytes(change.apply(self.source))
            os.utime(file, (number, number))  # other than that of any compiled file
        self.testing = Testing.start(self.tree, tests, budget)

    def ended(self) -> dict | None:
        """Return the outcome and restore the file, or None while the tests run."""
        outcome = self.testing.outcome()
        if outcome is not None:
            name, change = self.key
            if change is not None:
                (self.tree / name).write_bytes(self.source)
                os.utime(self.tree / name, ns=(self.times.st_atime_ns, self.times.st_mtime_ns))
            self.testing = None
        return outcome


def test(work: list[tuple[str, Change | None, list[str]]], slots: list[Slot], budget: float):
    """Yield (position in the work, outcome) as the tests of each piece of work end."""
    waiting, running = list(enumerate(work)), {}
    try:
        yield from _ended(waiting, running, slots, budget)
    finally:
        for slot in running.values():
            slot.testing.stop()


def _ended(waiting: list, running: dict, slots: list[Slot], budget: float):
    while waiting or running:
        for slot in slots:
            if slot.testing is None and waiting:
                position, (name, change, tests) = waiting.pop(0)
                slot.start(name, change, tests, budget, 1_000_000_000 + position)
                running[position] = slot
        for position, slot in list(running.items()):
            outcome = slot.ended()
            if outcome is not None:
                del running[position]
                yield position, outcome
        time.sleep(0.05)


def verify(records: list[dict], slots: list[Slot], budget: float) -> None:
    """Take back what was noticed by tests that fail, or are too slow, in the tree as it is."""
    asked = {
        tuple(record["failed"] or record["tests"])
        for record in records
        if record["noticed"] and not record["sure"]
    }
    work = [("", None, list(tests)) for tests in sorted(asked)]
    for position, outcome in test(work, slots, budget):
        for record in records:
            if tuple(record["failed"] or record["tests"]) == tuple(work[position][2]) and not record["sure"]:
                record |= {"noticed": outcome["code"] == 0, "sure": True}


def report(records: list[dict]) -> str:
    """Say what was not noticed, and the shares by folder."""
    lines = [
        f"{record['file']}:{record['line']}: {record['kind']}: {record['text']}"
        for record in records
        if not record["noticed"]
    ]
    total, noticed = Counter(), Counter()
    for record in records:
        folder = Path(record["file"]).relative_to(SOURCE).parts[0]
        for key in (folder, "all"):
            total[key] += 1
            noticed[key] += record["noticed"]
    lines += [
        f"{key:14} {noticed[key]:4} of {total[key]:4} noticed ({noticed[key] / total[key]:.0%})"
        for key in sorted(total)
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="", help="below src/lit_mlfund; default: all of it")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--budget", type=float, default=40, help="seconds for the tests of one change")
    parser.add_argument(
        "--output", type=Path, default=None, help="default: mutations-SEED.json in the temporary folder"
    )
    parser.add_argument("--list", action="store_true", help="show the changes without testing them")
    options = parser.parse_args()
    known = equivalents()
    drawn = [
        (name, change)
        for name, change in sample(ROOT, options.folder, options.count, options.seed)
        if (name, change.before, change.after) not in known
    ]
    if options.list:
        print("\n".join(f"{name}:{change.line}: {change.kind}: {change.text()}" for name, change in drawn))
        return
    output = options.output or Path(tempfile.gettempdir()) / f"mutations-{options.seed}"
    output = output.with_suffix(".json")
    records = json.loads(output.read_text()) if output.exists() else []
    done = {(record["file"], record["start"], record["before"], record["after"]) for record in records}
    nearest = Nearest(ROOT)
    work = [
        (name, change, nearest(ROOT / name))
        for name, change in drawn
        if (name, change.start, change.before, change.after) not in done
    ]
    import_libraries()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="mutations-", ignore_cleanup_errors=True) as scratch:
        slots = [Slot(Path(scratch) / f"tree{number}") for number in range(options.jobs)]
        for position, outcome in test(work, slots, options.budget):
            name, change, tests = work[position]
            noticed = outcome["code"] not in (0, 5)
            record = {"file": name, **asdict(change), "text": change.text(), "tests": tests, **outcome}
            records.append({**record, "noticed": noticed, "sure": not noticed})
            output.write_text(json.dumps(records, indent=1))
            word = "noticed  " if noticed else "UNNOTICED"
            print(
                f"{word} {outcome['seconds']:6.1f} s {name}:{change.line}: {change.text()}",
                file=sys.stderr,
                flush=True,
            )
        verify(records, slots, options.budget)
    output.write_text(json.dumps(records, indent=1))
    print(report(records))


if __name__ == "__main__":
    main()
