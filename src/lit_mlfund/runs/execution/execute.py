"""Executes a frozen run: fits, evaluates the best checkpoint beside its references, writes the results.

Everything is read from `<run>/run.yaml` and written to the run folder, so that one process or many, now or after a
crash, do the same.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf

from lit_mlfund.atomic import write_json
from lit_mlfund.callbacks import Preempted, PreemptionFlag, TrainingDiverged
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules import DataModule
from lit_mlfund.diagnostics import verdict
from lit_mlfund.modules import TaskModule
from lit_mlfund.runs.assembly.budget import apply_budget
from lit_mlfund.runs.assembly.data_reuse import load_data
from lit_mlfund.runs.assembly.objects import (
    Training,
    build_module,
    build_trainer,
    quiet_lightning,
    seed_everything,
)
from lit_mlfund.runs.evaluation.measure import measure_references, measure_splits, write_predictions
from lit_mlfund.runs.evaluation.publish import report, show_projection, show_start
from lit_mlfund.runs.evaluation.training_summary import training_numbers, training_split, weight_numbers
from lit_mlfund.runs.execution.lr_range_test import replace_auto_lr
from lit_mlfund.runs.execution.provenance import provenance, recorded_sources
from lit_mlfund.runs.execution.run_folder import load_frozen, rewrite
from lit_mlfund.startup.environment import is_first_process
from lit_mlfund.startup.streams import prepare_streams

Fit = Callable[[DictConfig, Training, TaskModule, DataModule, bool], None]


def execute(
    run_dir: Path, *, resume: bool = False, data: DataModule | None = None, fit: Fit | None = None
) -> dict[str, Any]:
    """Execute the run in `run.yaml` and return the contents of `result.json`.

    Args:
        run_dir: a folder with a checked, resolved `run.yaml`.
        resume: continue from `checkpoints/last.ckpt` if there is one.
        data: the configured data module, if it is set up already.
        fit: a replacement for training, which brings in the results of a training that took place elsewhere.

    Raises:
        DataError, ValueError: the data do not fit the configuration; a folder without a checkpoint is removed.
    """
    flag = PreemptionFlag().install()
    prepare_streams()
    quiet_lightning()
    started = time.perf_counter()
    config = OmegaConf.create(load_frozen(run_dir))
    result: dict[str, Any] = {
        "run": str(run_dir),
        "status": "done",
        "objective": {"name": config.monitor, "value": None},
        "test": {},
        "references": {},
        "findings": [],
    }
    try:
        _run(config, run_dir, resume, flag, result, data, fit or _fit)
    except (Preempted, SIGTERMException) as stop:
        result |= {"status": "preempted", "reason": str(stop) or "stopped by a signal; resumable"}
    except (TrainingDiverged, FloatingPointError) as failure:
        finding = verdict.diverged(str(failure))
        result |= {"status": "failed", "reason": str(failure), "findings": [finding.name]}
        write_json(run_dir / "findings.json", [finding.to_dict()])
    except (DataError, ValueError):
        if not resume and not (run_dir / "checkpoints" / "last.ckpt").exists():
            shutil.rmtree(run_dir, ignore_errors=True)
        raise
    result["seconds"] = round(time.perf_counter() - started, 3)
    if is_first_process():
        write_json(run_dir / "result.json", result)
        report(run_dir, config, result)
    return result


def _run(
    config: DictConfig,
    run_dir: Path,
    resume: bool,
    flag: PreemptionFlag,
    result: dict[str, Any],
    data: DataModule | None,
    fit: Fit,
) -> None:
    seed_everything(config.seed)
    data = data or load_data(config)
    if resume:
        data.watch.compare(recorded_sources(run_dir))
    if (replaced := apply_budget(config, data)) and is_first_process():
        rewrite(run_dir, config, f"by the number of training rows: {' '.join(replaced)}")
    lr_find = replace_auto_lr(config, data, run_dir) if config.train else None
    module = build_module(config, data.spec)
    if config.train:
        module.make_optimizer()  # raises its errors before anything starts
    if config.train and (problem := module.undefined_monitor(data)):
        raise DataError(f"monitor: {problem}")
    training = build_trainer(config, run_dir, flag)
    first = is_first_process()
    if first:
        record = provenance(config, data, module) | ({"lr_find": lr_find} if lr_find else {})
        write_json(run_dir / "provenance.json", record)
        show_start(run_dir)
    flag.check()
    try:
        fit(config, training, module, data, resume)
    except (TrainingDiverged, FloatingPointError):
        if first:
            write_json(run_dir / "metrics.json", _logged(training))
        raise
    checkpoints = training.checkpoints
    result["objective"]["value"] = checkpoints.best_value
    logged = _logged(training)  # before a checkpoint is loaded, which resets the callbacks to its epoch
    numbers = training_numbers(training.trainer, training.progress) if config.train else {}
    flag.check()
    if not config.test:
        return
    checkpoint = checkpoints.last_path if config.get("checkpoint") == "last" else checkpoints.best_path
    splits = measure_splits(
        training.trainer, module, data, checkpoint=str(checkpoint) if checkpoint.exists() else None
    )
    numbers |= training_split(module, data) | weight_numbers(module.model)
    if not first:
        return
    references = measure_references(module, data, config.seed) if config.references else {}
    result["test"] = splits["test"]
    result["references"] = {name: measured["test"] for name, measured in references.items()}
    write_predictions(run_dir / "predictions", module)
    show_projection(run_dir, config, module, data)
    write_json(
        run_dir / "metrics.json",
        {
            "objective": {**result["objective"], "mode": module.mode, "step": checkpoints.best_step},
            "splits": splits,
            "references": references,
            "numbers": numbers,
            **logged,
        },
    )
    findings = verdict.findings(
        config.monitor.removeprefix("val/"),
        module.mode,
        splits,
        references,
        logged["history"],
        config.trainer.max_epochs,
    )
    findings += [part.finding(module, data) for part in training.configured if hasattr(part, "finding")]
    data.watch()
    if data.watch.changes:
        findings.append(verdict.changed_data(data.watch.changes))
    write_json(run_dir / "findings.json", [finding.to_dict() for finding in findings])
    result["findings"] = [finding.name for finding in findings]


def _logged(training: Training) -> dict[str, Any]:
    """Return the values that were logged by epoch and by step."""
    return {"history": training.progress.history, "steps": training.progress.steps}


def _fit(config: DictConfig, training: Training, module: TaskModule, data: DataModule, resume: bool) -> None:
    if not config.train:
        return
    module.use_lean_steps(training.trainer)
    last = training.checkpoints.last_path
    checkpoint = str(last) if resume and last.exists() else None
    try:
        training.trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except RuntimeError as error:
        if checkpoint is None or "loading state_dict" not in str(error):
            raise
        raise ConfigError(
            f"checkpoint: {last} does not fit the configuration in {last.parents[1]}"
        ) from error
