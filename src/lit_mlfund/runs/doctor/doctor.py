"""Accompanies a run: callbacks that collect evidence, `evidence.json`, and the findings that follow from it."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from omegaconf import DictConfig

from lit_mlfund.atomic import to_json, write_json
from lit_mlfund.callbacks import BlackBox, Vitals
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.instantiate import instantiate
from lit_mlfund.datamodules import DataModule
from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding, doctor_failed
from lit_mlfund.diagnostics.verdict import verdict
from lit_mlfund.metrics import Evaluation
from lit_mlfund.runs.assembly.data_reuse import load_data
from lit_mlfund.runs.doctor.collect import Source, evidence_of_data, evidence_of_failure, evidence_of_run
from lit_mlfund.runs.doctor.learning_curve import measured_curve
from lit_mlfund.runs.doctor.probes import probed, retraining_problem

EVIDENCE = "evidence.json"
SHARE, LEAST_SECONDS = 0.1, 2.0  # of the run, that looking at its data may take
DATA_SECONDS = 60.0  # for the same where nothing is trained


class Doctor:
    """Names what is wrong with a run, from evidence that is kept beside the findings.

    Args:
        rows: how many rows of the validation split the trained model is tried on.
        learning_curve: train on parts of the training rows, too, and forecast what twice the rows would bring.
        budget_s: seconds that trainings may take after the run; with some, fixes of findings are tried too. None sets
            no limit to `learning_curve`, and tries none.
    """

    vitals: Vitals
    black_box: BlackBox

    asked: DictConfig  # the configuration before numbers that follow from the rows were put in

    def __init__(self, *, rows: int = 1024, learning_curve: bool = False, budget_s: float | None = None):
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        if budget_s is not None and budget_s < 0:
            raise ValueError(f"budget_s must not be negative, got {budget_s}")
        self.rows, self.learning_curve, self.budget_s = rows, learning_curve, budget_s
        self.started = time.perf_counter()

    def callbacks(self, run_dir: Path) -> list[Callback]:
        """Return the callbacks that collect evidence during training."""
        self.vitals, self.black_box = Vitals(), BlackBox(run_dir)
        return [self.vitals, self.black_box]

    def examine(
        self, run_dir: Path, source: Source, references: Mapping[str, Evaluation], others: list[Finding]
    ) -> list[Finding]:
        """Write `evidence.json` and return the findings on a finished run; a failure here is one of them."""
        seconds = max(LEAST_SECONDS, SHARE * (time.perf_counter() - self.started)) - self.vitals.seconds

        def diagnose() -> list[Finding]:
            evidence = evidence_of_run(source, self.vitals, references, others, self.rows, seconds)
            return _diagnose(run_dir, self._with_trainings(evidence, source))

        return _guarded(others, diagnose)

    def _with_trainings(self, evidence: Evidence, source: Source) -> Evidence:
        """Add what further trainings tell, as far as they were asked for."""
        fixes = [fix for finding in verdict(evidence) for fix in finding.fixes] if self.budget_s else []
        if not self.learning_curve and not fixes:
            return evidence
        asked, started, missing = self.asked, time.perf_counter(), dict(evidence.missing)
        if asked.optim.get("lr") == "auto":
            asked.optim.lr = source.config.optim.lr
        known = source.module.metrics
        metric = evidence.monitor if evidence.monitor in known else next(iter(known))
        curve, probes, why = None, None, retraining_problem(asked, source)
        if self.learning_curve:
            if not why:
                curve, missing["learning_curve"] = measured_curve(asked, source, metric, self.budget_s)
            else:
                missing["learning_curve"] = why
        if fixes and self.budget_s:
            left = self.budget_s - (time.perf_counter() - started)
            probes = probed(asked, source, fixes, left) if not why else None
            if probes is None:
                missing["probes"] = why or "no fix could be tried in doctor.budget_s"
        return dataclasses.replace(
            evidence,
            learning_curve=curve,
            probes=probes,
            missing={name: reason for name, reason in missing.items() if reason},
            cost=evidence.cost | {"trainings": round(time.perf_counter() - started, 4)},
        )

    def failed(
        self, run_dir: Path, config: DictConfig, failure: Exception, logged: dict[str, Any]
    ) -> list[Finding]:
        """Write `evidence.json` and return the findings on a training that stopped as it was no longer finite."""
        box = self.black_box
        missing = {"replay": box.problem} if box.problem else {}
        return _guarded(
            [], lambda: _diagnose(run_dir, evidence_of_failure(config, failure, box.found, logged, missing))
        )


def doctor_of(config: DictConfig) -> Doctor | None:
    """Build the configured doctor; the default one for runs of versions that had none, None for `doctor=none`."""
    if "doctor" not in config:
        return Doctor()  # it asks for no trainings
    if not config.doctor:
        return None
    doctor: Doctor = instantiate(config.doctor)
    doctor.asked = copy.deepcopy(config)
    return doctor


def findings_again(run_dir: Path) -> list[Finding]:
    """Return the findings that follow from the `evidence.json` of a run.

    Raises:
        ConfigError: there is none, or it is of another version.
    """
    path = run_dir / EVIDENCE
    if not path.is_file():
        raise ConfigError(
            f"run: {run_dir} has no {EVIDENCE}: it has not ended, was not measured (test=false), ran with doctor=none, "
            "or was written by an earlier version; train it again"
        )
    try:
        evidence = Evidence.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ConfigError(f"run: {path} cannot be read: {error}") from error
    return verdict(evidence)


def findings_on_data(config: DictConfig) -> tuple[list[Finding], DataModule, dict[str, str]]:
    """Return the findings on the data of a configuration before anything is trained, the data, and what was left out.

    Raises:
        DataError: the data do not fit the configuration.
    """
    data = load_data(config)
    evidence = evidence_of_data(config, data, DATA_SECONDS)
    return _judged(evidence.to_dict()), data, evidence.data.missing if evidence.data else {}


def _diagnose(run_dir: Path, evidence: Evidence) -> list[Finding]:
    """Write the evidence, and judge it as it will be read again."""
    plain = evidence.to_dict()
    write_json(run_dir / EVIDENCE, plain)
    return _judged(plain)


def _judged(plain: dict[str, Any]) -> list[Finding]:
    return verdict(Evidence.from_dict(json.loads(to_json(plain))))


def _guarded(others: list[Finding], diagnose: Callable[[], list[Finding]]) -> list[Finding]:
    """Return the findings; where the doctor itself fails, that as a finding: no failure here costs the result."""
    try:
        return diagnose()
    except Exception as error:
        return [doctor_failed(error), *others]
