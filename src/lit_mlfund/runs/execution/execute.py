"""Executes a frozen run: fits, evaluates the best checkpoint beside its references, writes the results.

Everything is read from `<run>/run.yaml` and written to the run folder, so that one process or many, now or after a
crash, do the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lit_mlfund.atomic import remove_unfinished, write_json
from lit_mlfund.callbacks import TrainingDiverged
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules import DataModule
from lit_mlfund.diagnostics.finding import Finding, changed_data
from lit_mlfund.memory import OutOfMemory, fitting
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.steps.guard import NonFiniteStep
from lit_mlfund.reports.run_files import read_json
from lit_mlfund.runs.assembly.budget import apply_budget
from lit_mlfund.runs.assembly.data_reuse import load_data
from lit_mlfund.runs.assembly.objects import (
    Training,
    build_module,
    build_trainer,
    quiet_lightning,
    seed_everything,
)
from lit_mlfund.runs.doctor.collect import Source
from lit_mlfund.runs.doctor.doctor import Doctor, doctor_of
from lit_mlfund.runs.evaluation.blending import blend_checkpoints, require_rows
from lit_mlfund.runs.evaluation.measure import (
    evaluate_references,
    intervals,
    measure_splits,
    write_predictions,
)
from lit_mlfund.runs.evaluation.publish import report, show_projection, show_start
from lit_mlfund.runs.evaluation.stop_reason import stop_reason
from lit_mlfund.runs.evaluation.training_summary import training_numbers, training_split, weight_numbers
from lit_mlfund.runs.execution.crash import (
    CRASHED,
    TRACEBACK_FILE,
    discard,
    is_consequence,
    record_crash,
    wrong_input,
)
from lit_mlfund.runs.execution.lr_range_test import replace_auto_lr
from lit_mlfund.runs.execution.provenance import provenance, recorded_sources
from lit_mlfund.runs.execution.run_folder import load_frozen, rewrite
from lit_mlfund.runs.execution.strangers import strange_packages
from lit_mlfund.runs.execution.unreported import marked
from lit_mlfund.runs.execution.way_on import stopped_result
from lit_mlfund.startup.environment import is_first_process
from lit_mlfund.startup.signals import REQUEST, Stopped, unmasked
from lit_mlfund.startup.streams import announce, prepare_streams, say, show_status

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
        ConfigError, DataError, WriteError: the user's input or disk is wrong; a folder in which nothing was trained is
            removed. Other errors are recorded as a crash.
    """
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
    if is_first_process():
        (run_dir / TRACEBACK_FILE).unlink(missing_ok=True)
        if resume:
            remove_unfinished(run_dir)
    training: Training | None = None
    doctor = doctor_of(config)
    try:
        with unmasked():
            prepared = _prepare(config, run_dir, resume, data, doctor)
        training = prepared.training
        _train_and_measure(config, run_dir, resume, result, prepared, fit or _fit, doctor)
    except Stopped as stopped:
        result |= stopped_result(stopped, run_dir)
    except (TrainingDiverged, FloatingPointError) as failure:
        result |= {"status": "failed", "reason": str(failure)}
        if is_first_process():
            _write_failure(config, run_dir, result, doctor, failure)
    except Exception as error:
        step = training.trainer.global_step if training is not None else 0
        wrong = wrong_input(error, run_dir, trained=step > 0)
        if wrong is not None:
            if not resume:
                discard(run_dir, wrong, trained=step > 0)
            raise wrong from error
        if is_consequence(error):
            raise
        if not isinstance(error, OutOfMemory):
            return _crashed(run_dir, result, error, step)
        result |= {"status": "failed", "reason": str(error)}
    result["seconds"] = round(time.perf_counter() - started, 3)
    if is_first_process():
        with REQUEST.deferred(), marked(run_dir):
            write_json(run_dir / "result.json", result)
            report(run_dir, config, result, strange_packages(load_frozen(run_dir)))
    return result


def _crashed(run_dir: Path, result: dict[str, Any], error: Exception, step: int) -> dict[str, Any]:
    """Record an error of somebody's code; of several processes the first one to crash writes."""
    reason = record_crash(run_dir, error, step)
    result |= {"status": CRASHED, "reason": reason or f"{type(error).__name__}: {error}"}
    if reason is not None:
        write_json(run_dir / "result.json", result)
    return result


@dataclass
class _Prepared:
    """Holds the objects of a run that is about to train."""

    data: DataModule
    module: TaskModule
    training: Training


def _prepare(
    config: DictConfig, run_dir: Path, resume: bool, data: DataModule | None, doctor: Doctor | None
) -> _Prepared:
    """Read the data, build all objects, and record and show what the run starts from."""
    seed_everything(config.seed)
    with fitting("the data"):
        data = data or load_data(config)
    if resume:
        data.watch.compare(recorded_sources(run_dir))
    if (replaced := apply_budget(config, data)) and is_first_process():
        rewrite(run_dir, config, f"by the number of training rows: {' '.join(replaced)}")
    if config.get("blend"):
        require_rows(data)
    lr_find = replace_auto_lr(config, data, run_dir) if config.train else None
    with fitting("the model"):
        module = build_module(config, data.spec)
    if config.train:
        module.make_optimizer()  # raises its errors before anything starts
    if config.train and (problem := module.undefined_monitor(data)):
        raise DataError(f"monitor: {problem}")
    training = build_trainer(config, run_dir, doctor.callbacks(run_dir) if doctor else ())
    if is_first_process():
        record = provenance(config, data, module) | ({"lr_find": lr_find} if lr_find else {})
        write_json(run_dir / "provenance.json", record)
        show_start(run_dir)
    return _Prepared(data, module, training)


def _train_and_measure(
    config: DictConfig,
    run_dir: Path,
    resume: bool,
    result: dict[str, Any],
    prepared: _Prepared,
    fit: Fit,
    doctor: Doctor | None,
) -> None:
    data, module, training = prepared.data, prepared.module, prepared.training
    first = is_first_process()
    REQUEST.check()
    try:
        if first and config.train:
            announce("training …")
        with fitting("training; data.batch_size or the model may be too large"):
            fit(config, training, module, data, resume)
    except Stopped:
        result["objective"]["value"] = training.checkpoints.best_value  # so far; the run can be resumed
        raise
    except (TrainingDiverged, FloatingPointError):
        if first:
            write_json(run_dir / "metrics.json", _logged(training))
        raise
    checkpoints = training.checkpoints
    result["objective"]["value"] = checkpoints.best_value
    if config.train and (stop := stop_reason(training, module.monitor, config.trainer.get("max_time"))):
        result["stopped"] = stop
        if first:
            say(f"stopped: {stop}")
    logged = _logged(training)  # before a checkpoint is loaded, which resets the callbacks to its epoch
    numbers = training_numbers(training.trainer, training.progress) if config.train else {}
    REQUEST.check()
    measured = config.get("checkpoint", "best")
    files = {"best": checkpoints.best_path, "last": checkpoints.last_path}
    blend: dict[str, Any] = {}
    if config.get("blend"):
        seconds = config.get("references_seconds")
        blends = blend_checkpoints(training.trainer, module, data, files, config.seed, seconds)
        blend = blends[measured]
        name = config.monitor.removeprefix("val/")
        result["objective"]["value"] = blend.pop("validation", {}).get(name, checkpoints.best_value)
        REQUEST.check()
    if not config.test:
        return
    checkpoint = files[measured]
    if first:
        show_status("measuring …")
    splits = measure_splits(
        training.trainer, module, data, checkpoint=str(checkpoint) if checkpoint.exists() else None
    )
    values, trained = training_split(module, data)
    numbers |= values | weight_numbers(module.model)
    if not first:
        return
    evaluated, left_out = (
        evaluate_references(module, data, config.seed, config.get("references_seconds"))
        if config.references
        else ({}, {})
    )
    references = {name: {split: intervals(e) for split, e in by.items()} for name, by in evaluated.items()}
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
            **({"references_left_out": left_out} if left_out else {}),
            **({"blend": blend} if blend else {}),
            "numbers": numbers,
            **logged,
        },
    )
    findings = [part.finding(module, data) for part in training.configured if hasattr(part, "finding")]
    data.watch()
    if data.watch.changes:
        findings.append(changed_data(data.watch.changes))
    if doctor is not None:
        source = Source(config, module, data, splits, logged, trained, numbers, training.configured)
        tests = {name: by["test"] for name, by in evaluated.items()}
        findings = doctor.examine(run_dir, source, tests, findings)
    write_json(run_dir / "findings.json", [finding.to_dict() for finding in findings])
    result["findings"] = [finding.name for finding in findings]


def _write_failure(
    config: DictConfig, run_dir: Path, result: dict[str, Any], doctor: Doctor | None, failure: Exception
) -> None:
    """Write the findings on a training that stopped, the cause of which is its reason where it is known."""
    findings: list[Finding] = []
    if doctor is not None:
        findings = doctor.failed(run_dir, config, failure, read_json(run_dir / "metrics.json"))
        if findings and isinstance(failure, NonFiniteStep):
            result["reason"] = findings[0].symptom[0].lower() + findings[0].symptom[1:]
    result["findings"] = [finding.name for finding in findings]
    write_json(run_dir / "findings.json", [finding.to_dict() for finding in findings])


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
