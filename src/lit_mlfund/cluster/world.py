"""Holds the number of processes that a launcher has started against the configured one."""

from __future__ import annotations

import os
from typing import Any

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.environment import launcher_world


def check_world(trainer: dict[str, Any]) -> None:
    """Raise a ConfigError where launcher and configuration name different numbers of processes.

    Args:
        trainer: the section `trainer`.
    """
    if (world := launcher_world()) is None:
        return
    machines, devices = int(trainer.get("num_nodes") or 1), trainer.get("devices", 1)
    by_torchrun = "RANK" in os.environ
    launcher = "torchrun" if by_torchrun else "srun"
    if devices == "auto" or isinstance(devices, list):
        return
    if int(devices) * machines != world[1]:
        nodes, each = ("--nnodes", "--nproc-per-node") if by_torchrun else ("--nodes", "--ntasks-per-node")
        raise ConfigError(
            f"trainer.devices: {devices} on {machines} machine{'s' * (machines > 1)} (trainer.num_nodes) make "
            f"{int(devices) * machines} processes, and {launcher} has started {world[1]}; "
            f"{launcher} {nodes}=N {each}=M needs trainer.num_nodes=N trainer.devices=M"
            + (" trainer=ddp" if trainer.get("strategy") == "auto" else "")
        )
