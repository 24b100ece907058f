"""Computes the time and the traffic of a training from the costs of one step, by arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lit_mlfund.runs.planning.devices import Device


class Kernel(NamedTuple):
    """Describes an operation by its FLOPs, the bytes that it reads and writes, and the bits of its numbers."""

    flops: int
    bytes: int
    bits: int


class Traffic(NamedTuple):
    """Describes the calls of one collective, and the bytes of the whole tensors that they gather, reduce or send."""

    collective: str
    group: int
    calls: int
    bytes: int

    @property
    def wire(self) -> int:
        """Return the bytes that each device sends, by ring algorithms.

        Of n parts of a tensor, a gather or a reduce-scatter passes on all but one; an all-reduce is both.
        """
        rounds = {"all_reduce": 2}.get(self.collective, 1)
        return rounds * self.bytes * (self.group - 1) // self.group

    def to_dict(self) -> dict[str, str | int]:
        """Return plain Python for JSON."""
        return {
            "collective": self.collective,
            "group": self.group,
            "calls": self.calls,
            "bytes": self.bytes,
            "wire_bytes": self.wire,
        }


@dataclass
class Work:
    """Holds the kernels (with their number) and the traffic of a part of a step, on one device."""

    kernels: Mapping[Kernel, int] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()

    @property
    def flops(self) -> int:
        """Return the sum of the FLOPs."""
        return sum(kernel.flops * count for kernel, count in self.kernels.items())

    def seconds(self, device: Device, efficiency: float) -> float:
        """Return the time of the kernels, each bound by arithmetic or by memory, whichever takes longer (roofline).

        Source: Williams, Waterman & Patterson 2009, "Roofline". `efficiency` is the share of both peaks that is
        reached.
        """
        total = 0.0
        for (flops, size, bits), count in self.kernels.items():
            rate = device.tflops[min(max(bits, 16), 64)] * 1e12
            total += count * max(flops / rate, size / (device.bandwidth * 1e9))
        return total / efficiency


@dataclass(frozen=True)
class Memory:
    """Holds bytes on one device.

    parameters, gradients, optimizer_state   this device's share, buffers among the parameters
    activations                              what the forward pass leaves for the backward pass, the batch included
    training_peak                            the most that exists at once in a step, in its `phase`
    validation_peak                          the most beside the parameters of a training in a batch of validation
    """

    parameters: int
    gradients: int
    optimizer_state: int
    activations: int
    training_peak: int
    phase: str
    validation_peak: int

    @property
    def peak(self) -> int:
        """Return the larger of both peaks."""
        return max(self.training_peak, self.validation_peak)

    @property
    def static(self) -> int:
        """Return what does not depend on the rows of a batch."""
        return self.parameters + self.gradients + self.optimizer_state


@dataclass(frozen=True)
class Step:
    """Holds the costs of an optimizer step: `accumulate` times the work of a batch, then that of the update."""

    memory: Memory
    batch: Work
    update: Work
    accumulate: int = 1
    notes: tuple[str, ...] = ()  # what could not be traced

    @property
    def flops(self) -> int:
        """Return the FLOPs of a step on one device."""
        return self.accumulate * self.batch.flops + self.update.flops

    def traffic(self) -> list[Traffic]:
        """Return the traffic of a step, one entry for each collective and size of group."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for work, times in ((self.batch, self.accumulate), (self.update, 1)):
            for part in work.traffic:
                calls, size = found.get((part.collective, part.group), (0, 0))
                found[part.collective, part.group] = calls + times * part.calls, size + times * part.bytes
        return [Traffic(*key, *counts) for key, counts in found.items()]

    def time(self, device: Device, link: float, efficiency: float) -> StepTime:
        """Return the seconds of a step; `link` is in bytes a second."""
        compute = self.accumulate * self.batch.seconds(device, efficiency) + self.update.seconds(
            device, efficiency
        )
        wire = sum(part.wire for part in self.traffic())
        return StepTime(compute, wire / link / efficiency)


class StepTime(NamedTuple):
    """Holds the seconds that one step computes and communicates."""

    compute: float
    communication: float

    @property
    def best(self) -> float:
        """Return the seconds where communication is hidden behind computation, as far as it can be."""
        return max(self.compute, self.communication)

    @property
    def worst(self) -> float:
        """Return the seconds where nothing is hidden."""
        return self.compute + self.communication
