"""Tries the fixes of findings: trains the run again with one value changed, with the same seed on the same rows."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

from lit_mlfund.callbacks import TrainingDiverged
from lit_mlfund.config.overrides import parse
from lit_mlfund.diagnostics.evidence import Measure, Probes
from lit_mlfund.diagnostics.ladder import PRIMARY
from lit_mlfund.modules import TaskModule
from lit_mlfund.runs.doctor.collect import Source, paired_gains
from lit_mlfund.runs.evaluation.retraining import retrained

UNTOUCHED = ("data", "shape", "task")  # another one would be measured on other rows


def retraining_problem(asked: DictConfig, source: Source) -> str:
    """Return why the run cannot be trained once more beside itself; empty where it can."""
    if source.module.trainer.world_size > 1:
        return "several processes trained the run"
    return "the run is averaged with trees (blend)" if asked.get("blend") else ""


def probed_metric(module: TaskModule) -> str:
    """Return the metric in which a fix has to be better."""
    monitored = module.monitor.removeprefix("val/")
    wanted = PRIMARY.get(module.task, monitored)
    return next(name for name in (wanted, monitored, *module.metrics) if name in module.metrics)


def with_fix(config: DictConfig, fix: str) -> DictConfig | None:
    """Return a configuration with one value changed; None for a fix that chooses another option of a group."""
    key, _, _ = fix.partition("=")
    changed = copy.deepcopy(config)
    before = OmegaConf.select(changed, key, default=...)
    if before is ... or isinstance(before, DictConfig) or key.partition(".")[0] in UNTOUCHED:
        return None
    OmegaConf.update(changed, key, parse(fix).value())
    return changed


def probed(asked: DictConfig, source: Source, fixes: Iterable[str], seconds: float) -> Probes | None:
    """Train with one fix after the other; return by how much each is better on the validation rows, paired.

    Args:
        asked: the configuration before numbers that follow from the rows were put in.
        source: of the finished run.
        fixes: overrides, the most promising first.
        seconds: no training is started that would likely end later, but for the first.
    """
    started, longest = time.perf_counter(), 0.0
    metric = probed_metric(source.module)
    gains: dict[str, Measure] = {}
    for fix in dict.fromkeys(fixes):
        config = with_fix(asked, fix)
        began = time.perf_counter()
        if config is None or began - started + longest > seconds:
            continue
        try:
            module = retrained(config, source.data, "val")
        except (TrainingDiverged, FloatingPointError):
            continue
        finally:
            longest = max(longest, time.perf_counter() - began)
        before = source.module.evaluations["val"]
        gains[fix] = paired_gains(module.evaluations["val"], before, source.module.metrics)[metric]
    return Probes(metric, gains) if gains else None
