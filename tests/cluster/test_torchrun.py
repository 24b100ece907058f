"""Agents of torchrun with an elastic rendezvous: one is killed and replaced, and the run goes on from its last save."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from tests.cluster.slurm import free_ports, wait_for

ROOT = Path(__file__).parents[2]
# In the first attempt, training waits for ever behind the second epoch.
MINE = """
    import time
    from pathlib import Path
    from lightning.pytorch import Callback

    class Waiting(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.current_epoch == 2 and not Path("replaced").exists():
                Path(f"waiting{trainer.global_rank}").touch()
                time.sleep(600)
"""
RUN = (
    "train", "task=multiclass", "data=digits", "data.batch_size=64", "model=linear", "trainer.max_epochs=4",
    "references=false", "logger=none", "test=false", "doctor=none", "trainer=ddp", "trainer.accelerator=cpu",
)  # fmt: skip


@pytest.mark.slow
def test_an_agent_is_killed_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(textwrap.dedent(MINE))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    (port,) = free_ports(1)
    command = [
        sys.executable, str(ROOT / "scripts" / "torchrun_exit.py"), "--nnodes=2", "--nproc-per-node=1",
        "--max-restarts=3",
        "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=mine", "--local-addr=127.0.0.1",
        "-m", "lit_mlfund", *RUN, "trainer.devices=1", "trainer.num_nodes=2",
        "+callbacks.waiting._target_=mine.Waiting",
    ]  # fmt: skip

    def start(name: str) -> subprocess.Popen[bytes]:
        with open(tmp_path / name, "wb") as out:
            return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=out)

    first, second = start("first"), start("second")
    try:
        wait_for("both ranks", lambda: len(list(tmp_path.glob("waiting*"))) == 2, 240)
        (tmp_path / "replaced").touch()
        os.kill(second.pid, signal.SIGKILL)
        second.wait()
        second = start("third")
        codes = first.wait(240), second.wait(240)
    finally:
        for agent in (first, second):
            agent.kill()
            agent.wait()
    said = (tmp_path / "first").read_text() + (tmp_path / "third").read_text()
    assert codes == (0, 0), said
    (run,) = tmp_path.glob("runs/multiclass/2*")
    assert json.loads((run / "result.json").read_text())["status"] == "done"
    folder = tmp_path / "whole"
    folder.mkdir()
    told = subprocess.run(
        [sys.executable, "-m", "lit_mlfund", *RUN, "trainer.devices=2"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    expected, found = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in (Path(json.loads(told.stdout.splitlines()[-1])["run"]), run)
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "code"), [("optim.lrr=1", 2), ("+callbacks.killed._target_=mine.Killed", 137)]
)
def test_the_exit_code_says_what_has_happened(tmp_path: Path, option: str, code: int) -> None:
    (tmp_path / "mine.py").write_text(
        "import os\nfrom lightning.pytorch import Callback\n"
        "class Killed(Callback):\n"
        "    def on_train_start(self, trainer, module):\n"
        "        if trainer.global_rank == 1:\n"
        "            os.kill(os.getpid(), 9)\n"
    )
    told = subprocess.run(
        [
            sys.executable, str(ROOT / "scripts" / "torchrun_exit.py"), "--nproc-per-node=2", "-m", "lit_mlfund", *RUN,
            "trainer.devices=2", option,
        ],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert told.returncode == code, told.stderr
    assert sum(line.startswith("mlfund: ") for line in told.stderr.splitlines()) == 1
