"""The number of processes is held against the launcher and the devices before anything starts."""

from __future__ import annotations

import os
import re

import pytest
import torch

from lit_mlfund.cluster import world
from lit_mlfund.config.errors import ConfigError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what launchers set."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "RANK", "WORLD_SIZE"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environment", "trainer", "told"),
    [
        (
            {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "3"},
            {"devices": 2, "num_nodes": 2, "strategy": "ddp"},
            "trainer.devices: 2 on 2 machines (trainer.num_nodes) make 4 processes, and srun has started 3; "
            "srun --nodes=N --ntasks-per-node=M needs trainer.num_nodes=N trainer.devices=M",
        ),
        (
            {"RANK": "1", "WORLD_SIZE": "2"},
            {"devices": 1, "strategy": "auto"},
            "trainer.devices: 1 on 1 machine (trainer.num_nodes) make 1 process, and torchrun has started 2; "
            "torchrun --nnodes=N --nproc-per-node=M needs trainer.num_nodes=N trainer.devices=M trainer=ddp",
        ),
        ({"RANK": "1", "WORLD_SIZE": "4"}, {"devices": "2", "num_nodes": 2}, None),
        ({"RANK": "1", "WORLD_SIZE": "4"}, {"devices": "auto"}, None),
        ({}, {"devices": 7}, None),
    ],
)
def test_processes_of_a_launcher(
    environment: dict[str, str], trainer: dict[str, object], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if told is None:
        world.check_world(trainer)
        return
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}$"):
        world.check_world(trainer)


@pytest.mark.parametrize(
    ("accelerator", "devices", "found", "told"),
    [
        ("gpu", 1, 0, "trainer.devices: 1, and this machine has no GPU; trainer.accelerator=cpu"),
        ("gpu", 3, 2, "trainer.devices: 3, and this machine has 2 GPUs; trainer.devices=2"),
        ("auto", 3, 1, "trainer.devices: 3, and this machine has 1 GPU; trainer.devices=1"),
        ("auto", 3, 0, None),  # on the CPU
        ("cpu", 3, 2, None),
        ("cuda", 2, 2, None),
    ],
)
def test_devices(
    accelerator: str, devices: int, found: int, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    monkeypatch.setattr(world, "_DRIVER", world.Path("/"))
    trainer = {"accelerator": accelerator, "devices": devices}
    if told is None:
        world.check_world(trainer)
        return
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}$"):
        world.check_world(trainer)
