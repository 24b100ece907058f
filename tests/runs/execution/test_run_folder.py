"""The frozen file, and the folder around it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_mlfund.atomic import WriteError
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution import run_folder
from lit_mlfund.runs.execution.run_folder import freeze, load_frozen


def config(tmp_path: Path, **values: Any) -> dict[str, Any]:
    """The least that a run has."""
    return {
        "task": {},
        "shape": "binary",
        "name": "mine",
        "runs_dir": str(tmp_path / "runs"),
        "data": {
            "path": "a.csv",
            "val_path": None,
            "test_path": "/b.csv",
            "query_path": "s3://c",
            "target": "y",
        },
        "run": "old",
        **values,
    }


def test_where_it_goes_and_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {
        "lr": 1e-5,
        "text": "1e-3",
        "no": "no",
        "none": None,
        "many": [1, 2.5, "x"],
        "large": float("inf"),
    }
    folder = freeze(config(tmp_path, optim=values), ["mlfund", "train", "name=a b"])
    assert folder.parent == tmp_path / "runs" / "binary"
    stamp, name, random = folder.name.rsplit("-", 2)
    assert (len(stamp), name, len(random)) == (15, "mine", 6)
    assert [file.name for file in folder.iterdir()] == ["run.yaml"]
    loaded = load_frozen(folder)
    assert loaded["optim"] == values
    assert loaded["run"] is None
    assert loaded["data"] == {
        "path": str(tmp_path / "a.csv"),  # seen from anywhere
        "val_path": None,
        "test_path": "/b.csv",
        "query_path": "s3://c",
        "target": "y",
    }
    text = (folder / "run.yaml").read_text()
    assert text.startswith("# mlfund train 'name=a b'\n")
    assert yaml.safe_load(text)["optim"] == values


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    assert freeze(config(tmp_path)) != freeze(config(tmp_path))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, text: str) -> None:
        raise WriteError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(run_folder, "write_text", refuse)
    with pytest.raises(WriteError, match="No space left on device"):
        freeze(config(tmp_path))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    with pytest.raises(WriteError):
        freeze(config(tmp_path))
    assert list((tmp_path / "runs").iterdir()) == []  # what was there before stays


def test_a_place_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(WriteError, match=r"cannot make the run folder .*Not a directory"):
        freeze(config(tmp_path))
    with pytest.raises(WriteError, match="cannot make the run folder /proc/runs/"):
        freeze(config(tmp_path, runs_dir="/proc/runs"))


def test_a_read_only_folder() -> None:
    """Tried as another user where the tests run as root, for whom nothing is read-only."""
    code = (
        "import os, sys\nfrom lit_mlfund.runs.execution.run_folder import freeze\n"
        "from lit_mlfund.atomic import WriteError\n"
        "config = {'task': {}, 'shape': 'b', 'name': 'n', 'data': {}, 'runs_dir': sys.argv[1] + '/before'}\n"
        "freeze(config)\nos.chmod(sys.argv[1], 0o555)\nif os.getuid() == 0: os.setuid(65534)\n"
        "try: freeze(config | {'runs_dir': sys.argv[1] + '/after'})\nexcept WriteError as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
        )
        os.chmod(folder, 0o755)
    assert told.stdout.startswith(f"cannot make the run folder {folder}/after/")
    assert "Permission denied" in told.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run folder: it has no run.yaml"),
        ("a: [", "run.yaml is damaged: while parsing a flow node"),
        ("- 1", "run.yaml is damaged: expected a mapping"),
        ("a: ${b}", "run.yaml cannot be read: Interpolation key 'b' not found"),
    ],
)
def test_damaged_folders(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(ConfigError) as error:
        load_frozen(tmp_path)
    assert message in str(error.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run: there is no folder"):
        load_frozen(tmp_path / "nowhere")
