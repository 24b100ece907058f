"""Links a run to its trial in an Optuna study: reports each validation, and ends the run where the study prunes it.

The search says which trial it is in the environment, which worker processes inherit. A run folder does not know of it:
repeated or resumed by hand it is a run like any other.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lit_mlfund.callbacks import Progress

TRIAL = "MLFUND_TRIAL"  # the variable that links the runs of this process to a trial
JOURNAL = "journal:"  # begins the address of a storage that is a file of records


class TrialPruned(Exception):
    """Signals that a training does worse than others of its study at the same validation."""


class PruneTrial(Checkpoint):
    """Reports every validation of a training to a study, once, and raises `TrialPruned` where it prunes.

    Behind the checkpoints, which Lightning calls behind all other callbacks: `last.ckpt` has what was reported. In a
    resumed training, validations that a kill kept from the study are reported first. Of several processes the first
    one asks, and tells the others.

    Args:
        link: storage, study, number of the trial, pruner.
        progress: holds the history of the validations.
    """

    def __init__(self, link: Mapping[str, Any], progress: Progress):
        self.link, self.progress = link, progress
        self._study: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.progress.history:
            self._report(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._report(trainer, pl_module)

    def _report(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = [entry[pl_module.monitor] for entry in self.progress.history]  # type: ignore[index]
        verdict = torch.tensor(
            float(trainer.is_global_zero and self._is_pruned(values)), device=pl_module.device
        )
        if trainer.world_size > 1:
            torch.distributed.all_reduce(verdict, op=torch.distributed.ReduceOp.MAX)
        if verdict:
            raise TrialPruned(
                f"pruned after {trainer.global_step} optimizer steps: {pl_module.monitor} is {values[-1]:.4g}, "
                f"and others of the study do better at validation {len(values)}"
            )

    def _is_pruned(self, values: list[float]) -> bool:
        from optuna.trial import TrialState

        if self._study is None:
            self._study = open_study(self.link)
        study, storage = self._study
        number = storage.get_trial_id_from_study_id_trial_number(
            storage.get_study_id_from_name(self.link["study"]), self.link["trial"]
        )
        trial = storage.get_trial(number)
        if trial.state != TrialState.RUNNING:  # the search ended without this run
            return False
        for step, value in enumerate(values, 1):
            if step not in trial.intermediate_values:
                storage.set_trial_intermediate_value(number, step, float(value))
        return bool(study.pruner.prune(study, storage.get_trial(number)))


def pruning(progress: Progress) -> list[PruneTrial]:
    """Return the callback that reports a run to its study; none for a run that has none."""
    link = os.environ.get(TRIAL)
    return [PruneTrial(json.loads(link), progress)] if link else []


@contextmanager
def linked(link: Mapping[str, Any] | None) -> Iterator[None]:
    """Let the runs of a block report to a trial; None for runs that are not pruned."""
    if link is not None:
        os.environ[TRIAL] = json.dumps(link)
    try:
        yield
    finally:
        os.environ.pop(TRIAL, None)


def open_study(link: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the study of a link, which can prune but not propose, and its storage."""
    import optuna

    storage = open_storage(link["storage"])
    sampler = optuna.samplers.RandomSampler(seed=0)
    pruner = make_pruner(*link["pruner"])
    return optuna.load_study(
        study_name=link["study"], storage=storage, pruner=pruner, sampler=sampler
    ), storage


def make_pruner(name: str, startup: int) -> Any:
    """Return a pruner of Optuna; its steps are the validations of a training."""
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=startup)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=1)
    return pruners.HyperbandPruner()


def open_storage(address: str) -> Any:
    """Open a storage of Optuna: `journal:FILE`, or a URL of SQLAlchemy."""
    import optuna
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if address.startswith(JOURNAL):
        return JournalStorage(JournalFileBackend(address.removeprefix(JOURNAL)))
    return RDBStorage(address)
