"""Tells whether a launcher started this process, as one of several."""

from __future__ import annotations

import os


def launcher_world() -> tuple[int, int] | None:
    """Return (rank, number of processes) when torchrun or srun started several processes, else None."""
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        values = os.environ.get(rank, ""), os.environ.get(world, "")
        if values[0].isdigit() and values[1].isdigit() and int(values[1]) > 1:
            return int(values[0]), int(values[1])
    return None


def is_first_process() -> bool:
    """Return whether this is the process that prints."""
    return (launcher_world() or (0, 1))[0] == 0
