"""The index of claims is made of their pages."""

from __future__ import annotations

from pathlib import Path

from lit_mlfund.sweeps.claims.index import write_index

PAGE = """# It is so

**It holds in part on these data (2 of 3).**

![It is so](so.png)

```bash
mlfund train -m experiment=claim_so
```
"""


def test_pages_of_claims_are_listed_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "so.md").write_text(PAGE)
    (tmp_path / "notes.md").write_text("# Something else\n")
    rows = [line for line in write_index(tmp_path).read_text().splitlines() if line.startswith("| [")]
    assert rows == [
        "| [It is so](so.md) | holds in part (2 of 3) | [picture](so.png) | `mlfund train -m experiment=claim_so` |"
    ]
    write_index(tmp_path)  # its own page is none of a claim
    assert write_index(tmp_path).read_text().count("\n| [") == 1
