"""Lists the pages of claims in a folder as one table."""

from __future__ import annotations

import re
from pathlib import Path

from lit_mlfund.atomic import write_text

INTRODUCTION = """# Claims, tried out

What is commonly said of losses, optimizers, learning rates and regularization, each as a sweep that ends in a page and
a picture. Every claim is spelled out as expectations: one *holds* if the 95 % interval of its difference lies on the
claimed side, is *contrary* if it lies on the other. A claim holds if all of its expectations do, else in part (how many
of them). The pages are written by the sweeps themselves: `mlfund train -m experiment=claim_…` puts one into its sweep's
folder, within minutes on two cores; `python scripts/claims.py` writes those here. Data are small and come with
installed packages, so a verdict is one on these data.

[Ranking quality](ranking_quality.md) holds LambdaRank against MSE on judged search results.
"""
_PAGE = re.compile(
    r"# (?P<statement>.+)\n\n\*\*It (?P<verdict>.+) on these data(?: (?P<count>\(.+\)))?\.\*\*\n\n"
    r"!\[.*\]\((?P<picture>.+)\)"
)
_COMMAND = re.compile(r"```bash\n(.+)\n```")


def write_index(folder: Path) -> Path:
    """Write `README.md`: statement, verdict, picture and command of every claim's page in `folder`."""
    rows = []
    for page in sorted(folder.glob("*.md")):
        text = page.read_text()
        claim, command = _PAGE.match(text), _COMMAND.search(text)
        if claim and command:
            rows.append(
                f"| [{claim['statement']}]({page.name}) | {claim['verdict']} {claim['count'] or ''} "
                f"| [picture]({claim['picture']}) | `{command[1]}` |"
            )
    table = ["| claim | verdict | picture | command |", "| --- | --- | --- | --- |", *rows]
    write_text(folder / "README.md", INTRODUCTION + "\n" + "\n".join(table) + "\n")
    return folder / "README.md"
