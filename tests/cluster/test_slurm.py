"""A real Slurm: requeued runs end with the bits of undisturbed ones, and a lost rank ends the others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cluster.slurm import Slurm, wait_for

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
# Two times, at these steps, the job gets a signal, as shortly before its limit of time.
MINE = """
    import os, signal, subprocess, time
    from lightning.pytorch import Callback

    class Signalled(Callback):
        def __init__(self, number="USR1", steps=(7, 16)):
            self.number, self.steps, self.is_sent = number, steps, False

        def on_train_batch_end(self, trainer, *_):
            restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
            first = trainer.is_global_zero and restarts < len(self.steps)
            if first and trainer.global_step == self.steps[restarts]:
                array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
                job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
                subprocess.run(["scancel", f"--signal={self.number}", job], check=True)
                self.is_sent = True
            if self.is_sent:
                time.sleep(0.2)  # the signal arrives before the training ends

    class Lost(Callback):
        def __init__(self, how, rank):
            self.how, self.rank = how, rank

        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 7 and trainer.global_rank == self.rank:
                if self.how == "raise":
                    raise RuntimeError("row 7 is broken")
                os.kill(os.getpid(), {"stop": signal.SIGSTOP, "die": signal.SIGKILL}[self.how])
"""
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    "OMP_NUM_THREADS": "1",
}
ONE, ARRAY, TWO_NODES = "slurm_train.sh", "slurm_array.sh", "slurm_two_nodes.sh"
RUN = (
    "task=multiclass", "data=digits", "data.batch_size=64", "model=linear", "trainer.max_epochs=2",
    "references=false", "logger=none", "test=false", "doctor=none",
)  # fmt: skip
CPU = "trainer.accelerator=cpu"
SIGNALLED = "+callbacks.signalled._target_=mine.Signalled"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a working folder with the callbacks."""
    (tmp_path / "mine.py").write_text(textwrap.dedent(MINE))
    return tmp_path


class Cluster:
    """Submits jobs from a working folder, and waits for them."""

    def __init__(self, slurm: Slurm, folder: Path):
        self.slurm, self.folder = slurm, folder
        self.environment = ENVIRONMENT | slurm.environment | {"MLFUND": f"{sys.executable} -m lit_mlfund"}

    def submit(self, *arguments: str, options: tuple[str, ...] = (), script: str = ONE) -> str:
        """Submit one of the scripts to copy with overrides, and return the id of the job."""
        told = subprocess.run(
            [
                "sbatch", "--parsable", "--cpus-per-task=1", "--output=%A_%a.out", *options,
                str(ROOT / "scripts" / script), *arguments,
            ],
            env=self.environment, cwd=self.folder, capture_output=True, text=True,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    def wait(self, job: str, seconds: float = 240) -> None:
        """Wait until a job has ended."""
        wait_for(
            f"the end of job {job}", lambda: not self.slurm("squeue", "-h", "-j", job, check=False), seconds
        )

    def told(self) -> str:
        """Return what all jobs have printed."""
        return "\n".join(file.read_text() for file in sorted(self.folder.glob("*.out")))

    def restarts(self, job: str) -> str:
        """Return how often a job was requeued."""
        return re.findall(r"Restarts=(\d+)", self.slurm("scontrol", "show", "job", job))[0]


@pytest.fixture
def cluster(slurm: Slurm, folder: Path) -> Cluster:
    """Submit from an empty folder."""
    return Cluster(slurm, folder)


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("runs/multiclass/*/result.json"))]


def weights(run: Path | str) -> dict[str, torch.Tensor]:
    return torch.load(Path(run) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], value) for name, value in two.items())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of one process that nobody disturbs, by seed."""
    folder = tmp_path_factory.mktemp("whole")
    told = subprocess.run(
        [sys.executable, "-m", "lit_mlfund", "train", *RUN, "-m", "seed=0,1"],
        env=ENVIRONMENT, cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return {str(seed): weights(result["run"]) for seed, result in enumerate(results(folder))}


def test_a_requeued_job_ends_with_the_bits_of_an_undisturbed_one(
    cluster: Cluster, undisturbed: dict[str, Any]
) -> None:
    job = cluster.submit(*RUN, "seed=0", SIGNALLED)
    cluster.wait(job)
    (result,) = results(cluster.folder)
    assert result["status"] == "done", cluster.told()
    assert cluster.told().count(f"mlfund: job {job} is requeued, and goes on where it was") == 2
    assert cluster.restarts(job) == "2"
    assert equal(weights(result["run"]), undisturbed["0"])
    assert not list(cluster.folder.glob("**/hpc_ckpt*"))


def test_two_nodes(cluster: Cluster) -> None:
    options = ("--ntasks-per-node=1",)
    whole = cluster.submit(*RUN, CPU, "name=whole", options=options, script=TWO_NODES)
    job = cluster.submit(*RUN, CPU, SIGNALLED, options=options, script=TWO_NODES)
    for each in (whole, job):
        cluster.wait(each)
    runs = {("whole" in result["run"]): result for result in results(cluster.folder)}
    assert [result["status"] for result in runs.values()] == ["done", "done"], cluster.told()
    assert (cluster.restarts(whole), cluster.restarts(job)) == ("0", "2")
    assert equal(weights(runs[False]["run"]), weights(runs[True]["run"]))


def test_tasks_of_an_array(cluster: Cluster, undisturbed: dict[str, Any]) -> None:
    (cluster.folder / "runs.txt").write_text("seed=0 name=s0\nseed=1 name=s1\n")
    job = cluster.submit("runs.txt", *RUN, SIGNALLED, options=("--array=1-2",), script=ARRAY)
    cluster.wait(job)
    runs = results(cluster.folder)
    assert [result["status"] for result in runs] == ["done", "done"], cluster.told()
    for result in runs:
        (seed,) = re.findall(r"-s(\d)-", result["run"])
        assert equal(weights(result["run"]), undisturbed[seed])
    assert cluster.restarts(f"{job}_1") == cluster.restarts(f"{job}_2") == "2"


@pytest.mark.parametrize("how", ["scancel", "--no-requeue"])
def test_a_job_that_is_not_to_go_on_says_how_it_would(cluster: Cluster, how: str) -> None:
    options = () if how == "scancel" else (how,)
    number = "+callbacks.signalled.number=" + ("TERM" if how == "scancel" else "USR1")
    more = ["+callbacks.signalled.steps=[999]"] if how == "scancel" else []
    job = cluster.submit(*RUN, SIGNALLED, number, *more, "trainer.max_epochs=3000", options=options)
    if how == "scancel":
        wait_for("the training", lambda: "epoch 2/" in cluster.told(), 120)
        cluster.slurm("scancel", job)
    cluster.wait(job)
    (result,) = results(cluster.folder)
    assert result["status"] == "preempted"
    assert f"go on with: mlfund train run={result['run']} --trust mine" in result["reason"]
    why = "it is completing" if how == "scancel" else "requeue is off (sbatch --requeue)"
    assert f"mlfund: job {job} is not requeued: {why}" in cluster.told()
    assert cluster.restarts(job) == "0"


@pytest.mark.parametrize(("how", "rank"), [("die", 0), ("raise", 1), ("stop", 1)])
def test_a_rank_that_is_lost_ends_all_with_one_message(cluster: Cluster, how: str, rank: int) -> None:
    job = cluster.submit(
        *RUN, CPU, "+callbacks.lost._target_=mine.Lost", f"+callbacks.lost.how={how}", f"+callbacks.lost.rank={rank}",
        options=("--ntasks-per-node=1", "--export=ALL,MLFUND_PATIENCE=15"), script=TWO_NODES,
    )  # fmt: skip
    cluster.wait(job)
    told = [line for line in cluster.told().splitlines() if line.startswith("mlfund: ")]
    (run,) = cluster.folder.glob("runs/multiclass/2*")
    node = f"n{rank + 1}"
    expected = {
        "die": f"failed: rank {rank} of 2 on {node} was ended from outside, as a machine does that is out of memory",
        "stop": f"failed: rank {rank} of 2 on {node} is stopped",
        "raise": f"crashed: rank {rank} of 2: RuntimeError: row 7 is broken (at step 7",
    }[how]
    assert len(told) == 1, cluster.told()
    assert told[0].startswith(f"mlfund: {expected}")
    assert f"mlfund train run={run} --trust mine" in told[0]
    assert "Traceback" not in cluster.told()


def test_submitit(cluster: Cluster, undisturbed: dict[str, Any]) -> None:
    pytest.importorskip("submitit")
    command = [sys.executable, "-m", "lit_mlfund", "train", *RUN, "-m", "seed=0,1", SIGNALLED]
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=10"]
    told = subprocess.run(
        [*command, "+callbacks.signalled.number=USR2", *launcher],
        env=cluster.environment, cwd=cluster.folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr + cluster.told()
    jobs = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    assert [job["status"] for job in jobs] == ["done", "done"]
    assert len(results(cluster.folder)) == 2
    assert equal(weights(jobs[0]["run"]), undisturbed["0"])
    assert equal(weights(jobs[1]["run"]), undisturbed["1"])


def test_a_wrong_number_of_processes_is_told_before_anything_starts(cluster: Cluster) -> None:
    job = cluster.submit(*RUN, CPU, "trainer.devices=1", options=("--ntasks-per-node=2",), script=TWO_NODES)
    cluster.wait(job)
    told = [line for line in cluster.told().splitlines() if line.startswith("mlfund: ")]
    assert told == [
        "mlfund: trainer.devices: 1 on 2 machines (trainer.num_nodes) make 2 processes, and srun has started 4; "
        "srun --nodes=N --ntasks-per-node=M needs trainer.num_nodes=N trainer.devices=M"
    ]
    assert not (cluster.folder / "runs").exists()


def test_a_partition_that_does_not_exist(cluster: Cluster) -> None:
    pytest.importorskip("submitit")
    command = [sys.executable, "-m", "lit_mlfund", "train", *RUN, "-m", "seed=0,1"]
    told = subprocess.run(
        [*command, "hydra/launcher=submitit_slurm", "hydra.launcher.partition=nope"],
        env=cluster.environment, cwd=cluster.folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert told.returncode == 2
    last = told.stderr.splitlines()[-1]  # behind what sbatch says itself
    assert last.startswith("mlfund: hydra.launcher: sbatch: error: invalid partition specified: nope")
    assert "Traceback" not in told.stderr
