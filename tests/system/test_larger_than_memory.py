"""What no machine has the memory for: one message and exit code 2, no folder."""

from __future__ import annotations

from pathlib import Path

from tests.system.conftest import Command


def test_a_feature_index_and_a_model(mlfund: Command, table: Path) -> None:
    Path("lists.letor").write_text(
        "".join(f"{n % 3} qid:{n // 5} 1:{n} 4000000000000:1\n" for n in range(50))
    )
    outcome = mlfund("train", "task=ranking", "data=letor", "data.path=lists.letor")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1, outcome.err
    assert "lists.letor: line 1: feature or query numbers from 2,147,483,648 on cannot be read" in outcome.err

    asked = ("task=regression", "data=table", f"data.path={table}", "data.target=value")
    outcome = mlfund("train", *asked, "model.hidden=[4000000,1000000]")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1, outcome.err
    assert "model: larger than memory: its tensor [1000000, 4000000] takes 16.0 TB" in outcome.err
    assert not Path("runs").exists()
