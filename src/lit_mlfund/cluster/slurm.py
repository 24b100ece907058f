"""Asks Slurm who this process is, where the first one is, and whether the job may be started again."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

_PATIENCE = 60.0  # seconds that a busy controller may take to answer


def job_id() -> str | None:
    """Return the id of the Slurm job that this process belongs to, as `scontrol` takes it, or None outside of one."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID") or None


def num_restarts() -> int:
    """Return how often the job was requeued."""
    count = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(count) if count.isdigit() else 0


def step_name() -> str:
    """Return a name of this start of this step, which no other one has."""
    names = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    return "-".join(os.environ.get(name) or "0" for name in names)


def first_address() -> str:
    """Return the address of the node of rank 0: the first one of the step, or `MASTER_ADDR` where it is given."""
    if given := os.environ.get("MASTER_ADDR"):
        return given
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST", "")
    first = next(iter(_scontrol("show", "hostnames", nodes).text.split()), "") or _first_name(nodes)
    address = re.search(r"\bNodeAddr=(\S+)", _scontrol("show", "node", first).text) if first else None
    return (address[1] if address else first) or "127.0.0.1"


def _first_name(nodes: str) -> str:
    """Return the first name of a list such as `n[3-5,7],m1`, where `scontrol` is not installed on the nodes."""
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", nodes.strip(), count=1).split(",")[0]


def torchrun_environment() -> dict[str, str]:
    """Return the variables that torchrun would give to this process of srun, but for address and port."""
    counts = _tasks_per_node(os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    node = int(os.environ.get("SLURM_NODEID", "0"))
    return {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": os.environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": os.environ.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": str(counts[min(node, len(counts) - 1)]),
        "GROUP_RANK": str(node),
        "TORCHELASTIC_RUN_ID": step_name(),
    }


def _tasks_per_node(text: str) -> list[int]:
    """Read `2(x3),1`, the number of tasks on each node."""
    parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(tasks) for tasks, nodes in parts for _ in range(int(nodes or 1))] or [1]


@dataclass(frozen=True)
class _Told:
    text: str
    error: str


def _scontrol(*arguments: str) -> _Told:
    """Call scontrol; where it fails the text is empty and the error is not."""
    try:
        told = subprocess.run(
            ["scontrol", *arguments], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _Told("", f"scontrol: {error}")
    failed = told.returncode != 0
    words = " ".join(told.stderr.split()) or f"exit code {told.returncode}"
    return _Told("" if failed else told.stdout, words if failed else "")


def refusal(job: str) -> str | None:
    """Return why a job is not to be requeued, None if it may be.

    A job that its user has cancelled is completing, as is one at its time limit, which may go on.
    """
    told = _scontrol("show", "job", "--oneliner", job)
    values = dict(word.partition("=")[::2] for word in told.text.split())
    if not values:
        return told.error or "Slurm does not know it"
    if values.get("Requeue") != "1":
        return "requeue is off (sbatch --requeue)"
    if values.get("BatchFlag") != "1":
        return "it was not submitted by sbatch"
    state = values.get("JobState", "")
    if state == "RUNNING" or (state in ("COMPLETING", "TIMEOUT") and values.get("Reason") == "TimeLimit"):
        return None
    return f"it is {state.lower()}"


def requeue(job: str) -> str | None:
    """Requeue a job, which ends it; return why that failed."""
    return _scontrol("requeue", job).error or None
