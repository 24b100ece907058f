"""Holds the configured number of processes against the devices that there are, and the processes of a launcher."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.environment import launcher_world

_DRIVER = Path("/dev/nvidiactl")  # is there where a GPU may be


def check_world(trainer: dict[str, Any]) -> None:
    """Check the processes of a run before anything of it is made.

    Args:
        trainer: the section `trainer`.

    Raises:
        ConfigError: the launcher has started another number of processes, or the machine has fewer GPUs.
    """
    devices = trainer.get("devices", 1)
    if devices == "auto" or isinstance(devices, list):
        return
    _check_launcher(trainer, int(devices))
    accelerator = trainer.get("accelerator")
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and _DRIVER.exists()):
        _check_gpus(str(accelerator), int(devices))


def _check_launcher(trainer: dict[str, Any], devices: int) -> None:
    world, machines = launcher_world(), int(trainer.get("num_nodes") or 1)
    if world is None or devices * machines == world[1]:
        return
    launcher, nodes, each = "srun", "--nodes", "--ntasks-per-node"
    if "RANK" in os.environ:
        launcher, nodes, each = "torchrun", "--nnodes", "--nproc-per-node"
    raise ConfigError(
        f"trainer.devices: {devices} on {machines} machine{'s' * (machines > 1)} (trainer.num_nodes) make "
        f"{devices * machines} process{'es' * (devices * machines > 1)}, and {launcher} has started {world[1]}; "
        f"{launcher} {nodes}=N {each}=M needs trainer.num_nodes=N trainer.devices=M"
        + (" trainer=ddp" if trainer.get("strategy") == "auto" else "")
    )


def _check_gpus(accelerator: str, devices: int) -> None:
    import torch

    found = torch.cuda.device_count()
    if found < devices and (found or accelerator != "auto"):
        other = f"trainer.devices={found}" if found else "trainer.accelerator=cpu"
        raise ConfigError(
            f"trainer.devices: {devices}, and this machine has {found or 'no'} GPU{'s' * (found > 1)}; {other}"
        )
