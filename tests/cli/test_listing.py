"""`mlfund list`: one line for each option."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lit_mlfund.cli import main
from lit_mlfund.cli.listing import KINDS
from lit_mlfund.config.catalog import catalog


def test_one_kind(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "losses"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "bce         binary      for labels",
        "composite   binary      several",  # what all of its parts can train
        "huber       regression  for outliers",
        "lambdarank  ranking     for lists",
        "mse         regression  for numbers",
    ]
    assert main(["list", "loss"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main(["list", "optims"]) == 0
    assert capsys.readouterr().out == "adamw  the default\n"
    assert main(["list", "tasks"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "binary      a label in {0, 1}"


def test_all_kinds_and_those_of_other_projects(
    house: Path,
    tmp_path: Path,
    write_tree: Callable[[Path, dict[str, str]], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = {"loss/tilted": "# mine\n_target_: never.Imported", "audit/full": "# everything\nx: 1"}
    own |= {f"{group}/full": "# everything\nx: 1" for group in ("zebra", "beta", "yard", "cave")}
    folder = write_tree(tmp_path / "own", own)
    assert main(["list", "--config-dir", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "loss=\n  bce" in shown
    assert "  tilted                  mine\n" in shown
    assert "audit=\n  full  everything\n" in shown
    for group in catalog().groups:
        assert f"{group}=\n" in shown
    headings = [line for line in shown.splitlines() if line.endswith("=")]
    assert headings[-5:] == ["audit=", "beta=", "cave=", "yard=", "zebra="]


def test_unknown_kind(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "lossess"]) == 2
    assert capsys.readouterr().err == "mlfund: lossess: no such kind; did you mean losses?\n"


def test_every_shipped_option_says_when_to_reach_for_it() -> None:
    from lit_mlfund.config.options import options

    known = catalog()
    silent = [
        f"{group}/{option.name}"
        for group in known.groups
        for option in options(known, group)
        if not option.comment
    ]
    assert silent == []
    assert set(known.groups) <= set(KINDS.values())
