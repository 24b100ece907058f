"""Plans a run: what its step takes on each device, whether that fits, and how long the training would be."""

from __future__ import annotations

import time
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.memory import fitting
from lit_mlfund.runs.assembly.objects import quiet_lightning, seed_everything
from lit_mlfund.runs.planning.advice import Setting, changes
from lit_mlfund.runs.planning.costs import Step
from lit_mlfund.runs.planning.devices import Device, device_of
from lit_mlfund.runs.planning.fakes import build_on_meta
from lit_mlfund.runs.planning.tracing import trace_step
from lit_mlfund.runs.planning.workload import Workload, num_steps, workload


def plan_run(config: dict[str, Any]) -> dict[str, Any]:
    """Plan a checked configuration with a section `plan`; return plain Python for JSON. Nothing is written.

    Raises:
        ConfigError, DataError: the user's input is wrong, or describes what cannot be traced.
    """
    quiet_lightning()
    started = time.perf_counter()
    node = OmegaConf.create(config)
    assert isinstance(node, DictConfig)
    device = device_of(config["plan"].get("device"), node.trainer.accelerator)
    strategy, num_devices = layout(node)
    seed_everything(node.seed)
    try:
        with fitting("the data"):
            work = workload(node)
        module = build_on_meta(node, work.spec)
        counts = {
            "total": sum(parameter.numel() for parameter in module.parameters()),
            "trained": sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad),
        }
        step = trace_step(node, module, strategy, num_devices, work)
    except ValueError as error:
        raise ConfigError(problems_of(error) or str(error)) from error
    setting = Setting(
        strategy,
        num_devices,
        work.rows,
        str(node.trainer.precision),
        node.model.get("activation_checkpointing"),
        node.model.get("dropout"),
        node.data.get("length") if work.tokens is not None else None,
    )
    limit = device.memory_gb * 1e9 * (1 - node.plan.headroom)
    return {
        "fits": step.memory.peak <= limit,
        "devices": {
            "number": num_devices,
            "strategy": strategy,
            **_described(device),
            "limit_bytes": int(limit),
        },
        "precision": setting.precision,
        "parameters": counts,
        "memory": {**vars(step.memory), "peak": step.memory.peak},
        "communication": [part.to_dict() for part in step.traffic() if part.group > 1],
        "flops": step.flops,
        **_times(node, step, work, device, num_devices),
        "changes": changes(step.memory, limit, setting),
        "notes": [*step.notes, *_missing(node, work, num_devices)],
        "seconds": round(time.perf_counter() - started, 3),
    }


def layout(config: DictConfig) -> tuple[str, int]:
    """Return the strategy, `single`, `ddp` or `fsdp`, and the number of devices.

    Raises:
        ConfigError: a strategy that is not modelled, or no number of devices.
    """
    trainer = config.trainer
    problems = []
    devices = str(trainer.get("devices") or 1)
    if not devices.isdigit():
        problems.append(f"trainer.devices: a plan needs a number, got {devices}")
    if config.get("embedding"):
        problems.append(f"embedding: {config.embedding._target_} is not modelled; plan with embedding=dense")
    strategy = str(trainer.get("strategy", "auto"))
    if strategy != "fsdp" and strategy != "auto" and not strategy.startswith("ddp"):
        problems.append(f"trainer.strategy: {strategy} is not modelled; a plan knows auto, ddp and fsdp")
    if problems:
        raise ConfigError(problems)
    number = int(devices) * int(trainer.get("num_nodes") or 1)
    if strategy != "fsdp":
        strategy = "ddp" if number > 1 else "single"
    return strategy, number


def _missing(config: DictConfig, work: Workload, num_devices: int) -> list[str]:
    if num_steps(config.trainer, work.batches, num_devices) is not None:
        return []
    return ["how long the training is depends on the number of rows: pass plan.rows=… or trainer.max_steps=…"]


def _described(device: Device) -> dict[str, Any]:
    return {"name": device.name, "memory_gb": device.memory_gb, "bandwidth": device.bandwidth}


def _times(
    config: DictConfig, step: Step, work: Workload, device: Device, num_devices: int
) -> dict[str, Any]:
    """Return seconds of a step, rows and tokens a second over all devices, steps and hours of the training."""
    link = device.link(num_devices, int(config.trainer.get("num_nodes") or 1))
    took = step.time(device, link, config.plan.efficiency)
    each = num_devices * step.accumulate / took.best
    steps = num_steps(config.trainer, work.batches, num_devices)
    return {
        "time": {
            "compute_seconds": took.compute,
            "communication_seconds": took.communication,
            "step_seconds": took.best,
            "step_seconds_without_overlap": took.worst,
            "rows_per_second": work.rows * each,
            **({"tokens_per_second": work.tokens * each} if work.tokens is not None else {}),
            "steps": steps,
            "hours": None if steps is None else steps * took.best / 3600,
            "hours_without_overlap": None if steps is None else steps * took.worst / 3600,
        }
    }
