"""Says what to change where a training does not fit, by arithmetic on the memory of one step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lit_mlfund.memory import as_size
from lit_mlfund.runs.planning.costs import Memory

MANY = 8  # devices of a machine; of more, the masks of dropout, drawn for all of them, are worth a word


@dataclass(frozen=True)
class Setting:
    """Holds what decides which changes are possible.

    strategy       `single`, `ddp` or `fsdp`
    num_devices    that share the training
    rows           of a batch on one device
    precision      of the trainer
    checkpointing  whether activations are recomputed; None for a model that has no such option
    dropout        of the model; None for a model that has none
    length         of windows of a text; None for other data
    """

    strategy: str
    num_devices: int
    rows: int
    precision: str
    checkpointing: bool | None = None
    dropout: float | None = None
    length: int | None = None


def changes(memory: Memory, limit: float, setting: Setting) -> list[dict[str, str]]:
    """Return overrides that make a training smaller, each with its effect; none where it fits into `limit` bytes."""
    found: list[tuple[str, str]] = []
    if memory.training_peak > limit:
        found += [*_of_activations(memory, limit, setting), *_of_weights(memory, limit, setting)]
    if memory.validation_peak > limit:
        where = f"data.length={max(1, setting.length // 2)}" if setting.length else "a smaller model"
        found.append((where, "validation serves more rows at a time than training does"))
    return [{"override": override, "effect": effect} for override, effect in found]


def _of_activations(memory: Memory, limit: float, setting: Setting) -> Iterator[tuple[str, str]]:
    moving = memory.training_peak - memory.static
    if (rows := math.floor(setting.rows * (limit - memory.static) / moving)) >= 1:
        yield (
            f"data.batch_size={rows}",
            f"about {as_size(memory.static + moving * rows / setting.rows)} a device",
        )
    if setting.checkpointing is False:
        effect = f"recomputes most of the {as_size(memory.activations)} of activations"
        yield "model.activation_checkpointing=true", effect
    if setting.dropout and setting.num_devices > MANY:
        yield "model.dropout=0", f"its masks are drawn for the rows of all {setting.num_devices} devices"
    if setting.precision.startswith("32"):
        yield "trainer.precision=bf16-mixed", "activations take about half; parameters and their states stay"


def _of_weights(memory: Memory, limit: float, setting: Setting) -> Iterator[tuple[str, str]]:
    # DistributedDataParallel keeps a second copy of the gradients
    gradients = memory.gradients / (2 if setting.strategy == "ddp" else 1)
    whole = memory.parameters + gradients + memory.optimizer_state
    if setting.strategy == "fsdp":
        whole *= setting.num_devices
    elif setting.num_devices > 1:
        part = as_size(whole / setting.num_devices)
        yield "trainer=fsdp", f"{part} for {as_size(memory.static)} of parameters, gradients and states"
    moving = memory.training_peak - memory.static
    fewer = "" if moving < limit else " data.batch_size=1"
    room = limit - (moving / setting.rows if fewer else moving)
    needed = math.ceil(whole / room) if room > 0 else 0
    if needed > setting.num_devices:
        machines = math.ceil(needed / MANY)
        number = f"{needed}" if machines == 1 else f"{MANY} trainer.num_nodes={machines}"
        effect = f"at most {as_size(whole / needed)} of parameters, gradients and states on each"
        yield f"trainer=fsdp trainer.devices={number}{fewer}", effect
    if memory.optimizer_state >= memory.parameters:
        effect = f"less than {as_size(memory.optimizer_state)} of states; see mlfund list optims --memory"
        yield "optim=adafactor" if setting.strategy != "fsdp" else "optim=sgd", effect
