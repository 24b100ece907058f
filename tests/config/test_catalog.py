"""`conf/` is that of the code that runs, whatever else is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lit_mlfund.config.catalog import own_folder

ROOT = Path(__file__).parents[2]


def list_losses(python_path: Path) -> str:
    command = [sys.executable, "-m", "lit_mlfund", "list", "losses"]
    environment = {**os.environ, "PYTHONPATH": str(python_path)}
    return subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=True
    ).stdout


def test_two_checkouts_and_one_environment_do_not_mix(tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    shutil.copytree(ROOT / "src", other / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / "conf", other / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "conf" / "loss" / "only_there.yaml").write_text(
        "# of the other checkout\n_target_: lit_mlfund.losses.MSELoss\n"
    )
    assert "only_there" in list_losses(other / "src")
    assert "only_there" not in list_losses(ROOT / "src")


def test_as_a_wheel_lays_it_out(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    shutil.copytree(
        ROOT / "src" / "lit_mlfund", site / "lit_mlfund", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "conf", site / "lit_mlfund" / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    assert "lambdarank" in list_losses(site)
    assert own_folder() == ROOT / "conf"
