"""`mlfund list optims --memory`: measured bytes of optimizer state."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lit_mlfund.cli import main
from lit_mlfund.runs.assembly import optimizer_memory

EXPECTED = {  # bytes per parameter of a matrix and of an embedding
    "adafactor": (0.06, 0.06),  # two vectors of 128 for 128²
    "adam": (8.0, 8.0),
    "adamw": (8.0, 8.0),
    "adamw8bit": (2.0, 2.0),
    "lion": (4.0, 4.0),
    "muon": (4.0, 8.0),
    "schedule_free": (8.0, 8.0),
    "sgd": (4.0, 4.0),
    "sophia": (8.0, 8.0),
}
NEEDS = {
    "adamw8bit": ("bitsandbytes", "bitsandbytes"),
    "lion": ("pytorch_optimizer", "optim"),
    "sophia": ("pytorch_optimizer", "optim"),
    "schedule_free": ("schedulefree", "optim"),
}


def test_measured_or_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(optimizer_memory, "SIZE", 128)
    assert main(["list", "optims", "--memory"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["optim", "matrix", "embedding"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[:-2]}
    assert rows.keys() >= EXPECTED.keys()
    for name, expected in EXPECTED.items():
        module, extra = NEEDS.get(name, ("torch", ""))
        if importlib.util.find_spec(module) is None:
            assert rows[name][:2] == ["-", "-"] and f"'lit_mlfund[{extra}]'" in rows[name]
        else:
            assert [float(cell) for cell in rows[name][:2]] == pytest.approx(expected, rel=0.05), name
    assert "bytes of state per parameter" in lines[-1]


def test_an_optimizer_that_cannot_be_measured_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(optimizer_memory, "SIZE", 16)
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "own.yaml").write_text("# mine\n_target_: torch.optim.RMSprop\nlr: 0.1\n")
    (tmp_path / "optim" / "closure.yaml").write_text("# theirs\n_target_: torch.optim.LBFGS\nlr: 0.1\n")
    assert main(["list", "optims", "--memory", "--config-dir", str(tmp_path)]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert rows["own"].split()[1:] == ["4.00", "4.00", "mine"]
    assert "not measured: LBFGS" in rows["closure"]


def test_of_optimizers_only(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--memory"], ["losses", "--memory"]):
        assert main(["list", *arguments]) == 2
        assert "mlfund list optims --memory" in capsys.readouterr().err
