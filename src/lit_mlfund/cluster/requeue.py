"""Requeues the job of a run that the scheduler has stopped; no other part of the program does."""

from __future__ import annotations

import os
import signal

from lit_mlfund.cluster import slurm
from lit_mlfund.startup.environment import is_first_process
from lit_mlfund.startup.signals import REQUEST
from lit_mlfund.startup.streams import warn


def requeue() -> None:
    """Requeue the Slurm job of this process, or say why it is not; call it when everything is written.

    Slurm ends all processes of the job then. Jobs of submitit are left to submitit (`sweeps/job.py`).
    """
    job = slurm.job_id()
    if job is None or is_submitit() or not is_first_process():
        return
    reason = slurm.refusal(job)
    if reason is None:
        warn(f"mlfund: job {job} is requeued, and goes on where it was")
        REQUEST.is_deferred = True  # Slurm sends signals of its own now
        reason = slurm.requeue(job)
    if reason is not None:
        warn(f"mlfund: job {job} is not requeued: {reason}")


def is_submitit() -> bool:
    """Return whether submitit has started this process, and is to requeue it."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def requeue_by_submitit() -> None:
    """Call submitit to requeue its job: it notes how often that was done, and the sweep waits for the job.

    Call it where submitit's own handler of its signal stands again. It ends the process, or raises an error of
    submitit where the limit of time was reached more than `hydra.launcher.max_num_timeout` times.
    """
    job = slurm.job_id()
    handler = signal.getsignal(signal.SIGUSR2)
    if job is None or not is_submitit() or not callable(handler):
        return
    if is_first_process() and (reason := slurm.refusal(job)) is not None:
        warn(f"mlfund: job {job} is not requeued: {reason}")
        return
    handler(signal.SIGUSR2, None)
