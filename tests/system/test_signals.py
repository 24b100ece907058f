"""Signals to the real command line: what it ends with, what it says, and what can be resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

RUN = (
    "task=multiclass", "data=digits", "data.batch_size=16", "trainer.max_epochs=3", "references=false", "logger=none",
    "test=false",
)  # fmt: skip
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `mlfund` in a process in which Ctrl-C is not ignored, as it is in the background of a shell script."""
    return subprocess.Popen(
        [sys.executable, "-m", "lit_mlfund", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(found: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    for _ in range(6000):
        if value := found():
            return value
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("it did not appear")


def last_checkpoint(folder: Path, process: subprocess.Popen[str]) -> Path:
    return wait_for(lambda: next(folder.glob("runs/*/*/checkpoints/last.ckpt"), None), process)


def workers(parent: int) -> dict[int, int]:
    """Map the rank of each worker of a process to its id."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    environments = {
        int(child): Path(f"/proc/{child}/environ").read_bytes().split(b"\0") for child in children
    }
    return {
        int(entry[5:]): child
        for child, entries in environments.items()
        for entry in entries
        if entry.startswith(b"RANK=")
    }


def messages(err: str) -> list[str]:
    """What is said after the start of the training, beside its epochs."""
    lines = err.partition("\nrun    ")[2].splitlines()[1:]
    return [line for line in lines if line and not line.startswith("epoch")]


def weights(run: Path | str) -> dict[str, torch.Tensor]:
    return torch.load(Path(run) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module", params=[(), TWO], ids=["one", "two"])
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The options of a run in one process or two, and its weights if nobody disturbs it."""
    process = start(tmp_path_factory.mktemp("whole"), "train", *RUN, *request.param)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return request.param, weights(json.loads(out.splitlines()[-1])["run"])


@pytest.mark.slow
def test_ctrl_c_saves_and_is_resumed_to_the_bit(tmp_path: Path, undisturbed: Any) -> None:
    options, expected = undisturbed
    process = start(tmp_path, "train", *RUN, *options)
    run = last_checkpoint(tmp_path, process).parents[1]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    result = json.loads(out.splitlines()[-1])
    assert result == json.loads((run / "result.json").read_text())
    assert result["status"] == "interrupted"
    told = messages(err)
    assert told[0] == "stopping after this step; Ctrl-C again ends at once"
    assert told[1:] == [f"mlfund: interrupted: {result['reason']}"]
    assert result["reason"].endswith(f"go on with: mlfund train run={run}")
    state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"]
    best = next(value for name, value in state.items() if name.startswith("BestAndLast"))["best_value"]
    assert result["objective"] == {"name": "val/accuracy", "value": pytest.approx(best)}  # so far

    process = start(tmp_path, "train", f"run={run}")
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert all(torch.equal(weights(run)[name], value) for name, value in expected.items())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_what_happens_to_one_of_two_processes(tmp_path: Path) -> None:
    """A rank that is killed, a signal that reaches one alone, and a parent that is killed: one run after the other."""
    process = start(tmp_path, "train", *RUN, *TWO, "trainer.max_epochs=60")
    run = last_checkpoint(tmp_path, process).parents[1]
    os.kill(workers(process.pid)[1], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert messages(err) == [
        "mlfund: failed: rank 1 of 2 was ended by SIGKILL, as a machine does that is out of memory; "
        f"go on with: mlfund train run={run}"
    ]

    before = (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    process = start(tmp_path, "train", f"run={run}")
    wait_for(lambda: (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns != before, process)
    os.kill(workers(process.pid)[1], signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert json.loads(out.splitlines()[-1])["status"] == "preempted"
    stopped_at = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert f"after {stopped_at} optimizer steps" in json.loads((run / "result.json").read_text())["reason"]

    before = (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    process = start(tmp_path, "train", f"run={run}")
    wait_for(lambda: (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns != before, process)
    children = workers(process.pid)
    for child in children.values():
        os.kill(child, signal.SIGSTOP)  # they live on, as long as nothing ends them
    process.kill()
    process.communicate(timeout=10)
    deadline = time.monotonic() + 20
    while any(_is_alive(child) for child in children.values()):
        assert time.monotonic() < deadline, "the workers outlive their parent"
        time.sleep(0.05)


def _is_alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_a_rank_that_raises_is_named_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
        import os
        from lit_mlfund.datamodules import DigitsDataModule

        class Broken(DigitsDataModule):
            def train_dataloader(self):
                if os.environ.get("RANK") == "1":
                    raise RuntimeError("row 7 of the user is broken")
                return super().train_dataloader()
        """)
    )
    process = start(tmp_path, "train", *RUN, *TWO, "data._target_=mine.Broken")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    (run,) = tmp_path.glob("runs/multiclass/*")
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.startswith("mlfund")] == [
        "mlfund: crashed: rank 1 of 2: RuntimeError: row 7 of the user is broken (at step 0; where, is in "
        f"{run / 'error.txt'}); `mlfund train run={run} --trust mine` starts it again"
    ]
    assert f'{tmp_path / "mine.py"}", line 8' in (run / "error.txt").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_among_the_imports(tmp_path: Path, number: signal.Signals) -> None:
    """The handler stands before torch is imported, and no folder is half made."""
    process = start(tmp_path, "train", *RUN)
    maps = Path(f"/proc/{process.pid}/maps")
    if maps.exists():  # while torch is being loaded
        wait_for(lambda: "torch" in maps.read_text() or None, process)
    else:
        time.sleep(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert len(err.splitlines()) == 1 and "stopped by a signal" in err
    folders = list(tmp_path.glob("runs/multiclass/*"))
    for folder in folders:
        assert (folder / "run.yaml").read_text()
        assert json.loads((folder / "result.json").read_text())["status"] in ("interrupted", "preempted")


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import time\nfrom lightning.pytorch.callbacks import Callback\n\n\nclass Slow(Callback):\n"
        "    def on_train_batch_end(self, *args):\n        open('stepped', 'w').close()\n        time.sleep(60)\n"
    )
    process = start(tmp_path, "train", *RUN, "callbacks.slow._target_=mine.Slow")
    wait_for((tmp_path / "stepped").exists, process)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - started < 20
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_stopped_sweep_keeps_what_is_done_and_shows_it(tmp_path: Path) -> None:
    process = start(tmp_path, "train", "-m", *RUN, "trainer.max_epochs=1", "seed=0,1,2,3,4,5,6,7,8")
    wait_for(lambda: list(tmp_path.glob("runs/sweeps/*/jobs/1.json")), process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    jobs = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert [job["job"] for job in jobs] == list(range(len(jobs)))
    assert {job["status"] for job in jobs[:2]} == {"done"} and len(jobs) < 9
    table = err.splitlines()
    assert all(sum(job["run"].rpartition("/")[2] in line for line in table) >= 1 for job in jobs)
    assert table[-1].startswith("mlfund: ") and "stopped by a signal" in table[-1]


@pytest.mark.slow
def test_references_obey_signals_and_their_limit_of_time(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    columns = {f"x{i}": generator.normal(size=1500) for i in range(100)}
    frame = pl.DataFrame(columns | {"y": [f"c{label}" for label in generator.integers(0, 60, 1500)]})
    frame.write_parquet(tmp_path / "many.parquet")
    asked = (
        "train", "task=multiclass", "data=table", "data.path=many.parquet", "data.target=y", "logger=none",
        "model=linear", "trainer.max_epochs=1",
    )  # fmt: skip
    process = start(tmp_path, *asked, "references_seconds=0.5")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert "gradient_boosting" not in result["references"] and "constant" in result["references"]
    left_out = json.loads((Path(result["run"]) / "metrics.json").read_text())["references_left_out"]
    assert left_out["gradient_boosting"] == "not fitted within 0.5 s"
    assert "gradient boosting is left out: not fitted within 0.5 s (references_seconds)" in err

    process = start(tmp_path, *asked, "references_seconds=null")
    before = {Path(result["run"])}
    run = wait_for(lambda: next(iter(set(tmp_path.glob("runs/multiclass/*")) - before), None), process)
    wait_for((run / "checkpoints" / "best.ckpt").exists, process)
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert time.monotonic() - started < 15  # the boosting of 60 classes takes a minute
    assert json.loads(out.splitlines()[-1])["status"] == "preempted"
