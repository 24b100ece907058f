"""Describes the devices that a plan knows: memory, and the peak rates of their data sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_mlfund.config.errors import ConfigError, suggestion

KEYS = ("memory_gb", "tflops", "bandwidth", "interconnect")


@dataclass(frozen=True)
class Device:
    """Holds the peak rates of a device.

    memory_gb     memory in 10^9 bytes
    tflops        10^12 operations a second by bits of the numbers: 64, 32 (without TF32, torch's default) and 16
    bandwidth     of the memory, in 10^9 bytes a second
    interconnect  to the devices of the same machine, in 10^9 bytes a second and direction
    network       to those of other machines
    per_machine   devices of a machine
    """

    name: str
    memory_gb: float
    tflops: dict[int, float]
    bandwidth: float
    interconnect: float
    network: float
    per_machine: int

    def link(self, num_devices: int, num_machines: int = 1) -> float:
        """Return the slowest link between `num_devices`, in bytes a second."""
        crosses = num_machines > 1 or num_devices > self.per_machine
        return 1e9 * (min(self.interconnect, self.network) if crosses else self.interconnect)


_ANY = 2**62
# NVIDIA's data sheets: SXM cards, dense matrix products; a network adapter of 400 Gb/s for each (A100: 200, L4: 100).
DEVICES = {
    "h100": Device("h100", 80, {64: 67, 32: 67, 16: 989}, 3350, 450, 50, 8),
    "h200": Device("h200", 141, {64: 67, 32: 67, 16: 989}, 4800, 450, 50, 8),
    "a100": Device("a100", 80, {64: 19.5, 32: 19.5, 16: 312}, 2039, 300, 25, 8),
    "l4": Device("l4", 24, {64: 0.47, 32: 30.3, 16: 121}, 300, 32, 12.5, 8),
    # one core with 256-bit vectors; the processes of a machine share its memory
    "cpu": Device("cpu", 16, {64: 0.05, 32: 0.1, 16: 0.1}, 10, 2, 1.25, 64),
}


def device_of(value: Any, accelerator: str) -> Device:
    """Return the device that `plan.device` names or describes; by default the one that fits the accelerator.

    Raises:
        ConfigError: a name that is not in the table, or a description with a key too few, too many or not above 0.
    """
    if value is None:
        return DEVICES["cpu" if accelerator == "cpu" else "h100"]
    if not isinstance(value, Mapping):
        name = str(value).lower()
        if name not in DEVICES:
            raise ConfigError(
                f"plan.device: {value} is not in the table; {suggestion(name, DEVICES)}; or describe it: "
                f"plan.device={{{','.join(f'{key}:…' for key in KEYS)}}}"
            )
        return DEVICES[name]
    problems = [
        f"plan.device.{key}: unknown; {suggestion(str(key), KEYS)}" for key in value if key not in KEYS
    ]
    for key in KEYS:
        if key not in value:
            problems.append(f"plan.device.{key} is required: pass plan.device.{key}=…")
        elif not value[key] > 0:
            problems.append(f"plan.device.{key} must be above 0, got {value[key]}")
    if problems:
        raise ConfigError(problems)
    memory, tflops, bandwidth, interconnect = (float(value[key]) for key in KEYS)
    rates = dict.fromkeys((64, 32, 16), tflops)
    return Device("described", memory, rates, bandwidth, interconnect, interconnect, _ANY)
