"""Try out claims and write their pages: `python scripts/claims.py [claim_huber | folder of a sweep]…`.

Without arguments, all of `conf/experiment/claim_*.yaml`, one after another. The folder of a sweep that has ended is
only reported on again, in the words of the experiment as it is now.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lit_mlfund.config.compose import Composer
from lit_mlfund.sweeps.claims.index import write_index
from lit_mlfund.sweeps.claims.report import claim_of, report_claim

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "claims"


def run(name: str) -> Path:
    """The folder of a new sweep of the experiment `name`."""
    command = ["mlfund", "train", "-m", f"experiment={name}"]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    told = [line for line in ended.stderr.splitlines() if line.startswith("claim: ")]
    if not told:
        raise SystemExit(f"{name}: {ended.stderr[-2000:]}")
    return Path(told[-1].removeprefix("claim: ")).parent


def main(arguments: list[str]) -> None:
    """Run or take up each sweep and write its page, then the index of all."""
    for argument in arguments or sorted(
        file.stem for file in (ROOT / "conf/experiment").glob("claim_*.yaml")
    ):
        folder = Path(argument).absolute() if Path(argument).is_dir() else run(argument)
        name = folder.name.split("-")[2]
        command = ["mlfund", "train", "-m", f"experiment={name}"]
        claim = claim_of(Composer().checked([f"experiment={name}"]).config)
        print(report_claim(folder, command, PAGES / f"{name.removeprefix('claim_')}.md", claim))
    print(write_index(PAGES))


if __name__ == "__main__":
    main(sys.argv[1:])
