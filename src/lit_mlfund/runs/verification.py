"""Runs the first fix that the doctor proposes for a finished run, and says whether it helped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from lit_mlfund.callbacks import TrainingDiverged
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.metrics import Evaluation
from lit_mlfund.runs.assembly.objects import quiet_lightning
from lit_mlfund.runs.doctor.collect import paired_gains
from lit_mlfund.runs.doctor.probes import probed_metric, with_fix
from lit_mlfund.runs.evaluation.retraining import retrained
from lit_mlfund.runs.execution.finished_run import Run
from lit_mlfund.runs.execution.strangers import load_checked


def verified(run_dir: Path, findings: list[Finding], trust: Iterable[str] = ()) -> dict[str, Any] | None:
    """Train the run again with the first fix, on the same rows and with the same seed; return what that gained.

    Both are compared on the validation rows, paired. The finding is closed if the whole interval of the gain is above
    zero. None where no finding has a fix.

    Raises:
        ConfigError: the first fix cannot be tried alone, or the run cannot be trained here.
    """
    finding = next((finding for finding in findings if finding.fixes), None)
    if finding is None:
        return None
    fix = finding.fixes[0]
    config = OmegaConf.create(load_checked(run_dir, trust, executed=True))
    changed = with_fix(config, fix)
    if changed is None:
        raise ConfigError(f"verify: {fix} is more than one value; train with it: mlfund train … {fix}")
    devices = str(config.trainer.get("devices", 1))
    if devices not in ("1", "auto") or config.trainer.get("num_nodes", 1) != 1 or config.get("blend"):
        raise ConfigError("verify: a run in several processes, or a blend, is verified by training it again")
    quiet_lightning()
    run = Run(run_dir, config.get("checkpoint", "best"), trust)
    before = _evaluation(run)
    told: dict[str, Any] = {"finding": finding.name, "fix": fix, "gain": None, "closed": False}
    metric = told["metric"] = f"val/{probed_metric(run.module)}"
    try:
        after = retrained(changed, run.data, "val").evaluations["val"]
    except (TrainingDiverged, FloatingPointError) as failure:
        return told | {"reason": str(failure)}
    name = metric.removeprefix("val/")
    gain = paired_gains(after, before, run.module.metrics)[name]
    return told | {"gain": gain.to_dict(), "closed": gain.above}


@torch.no_grad()
def _evaluation(run: Run) -> Evaluation:
    """Evaluate the checkpoint of a run on its validation rows."""
    run.data.setup("fit")
    for batch in run.data.loader("val"):
        run.module.collect(batch)
    return run.module.evaluate(run.module.drain()[0], "val")
