"""Runs the learning-rate range test: trains a throwaway model for a few steps at rising rates."""

from __future__ import annotations

import copy
import math
import secrets
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from lit_mlfund.atomic import WriteError, whole_file, write_json
from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.config.instantiate import instantiate
from lit_mlfund.datamodules import DataModule
from lit_mlfund.diagnostics.learning_rate import Recommendation, recommend
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.steps.guard import NonFiniteStep
from lit_mlfund.runs.assembly.budget import apply_budget
from lit_mlfund.runs.assembly.objects import (
    build_data,
    build_module,
    quiet_lightning,
    seed_everything,
)
from lit_mlfund.runs.evaluation.publish import add_picture
from lit_mlfund.runs.execution.run_folder import rewrite

LOWEST, HIGHEST, NUM_STEPS = 1e-7, 10.0, 240  # 30 steps for each factor of ten
AUTO = "auto"


class _Diverged(Exception):
    """Stops the test: higher rates would show nothing more."""


class _RateTest(Callback):
    """Sets the rate of every optimizer step and records its loss; stops far above the lowest loss.

    Batches can differ in difficulty by more than one step changes. So the loss of the untrained model on the same batch
    is subtracted, and its mean added back: what remains is the effect of training.
    """

    def __init__(self, untrained: TaskModule) -> None:
        self.untrained = untrained
        self.baselines: list[float] = []
        self._baseline: list[Tensor] = []
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._recent = self._lowest = math.inf

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        groups = trainer.optimizers[0].param_groups
        self._groups = [group for group in groups if group.get("name") != "tables"]  # these use embedding.lr
        self._factors = [float(group["lr"]) / LOWEST for group in self._groups]  # from lr_by_pattern
        self._first = float("nan")
        self.untrained.load_state_dict(pl_module.state_dict())  # with what was fitted to the training rows
        self.untrained.to(pl_module.device)
        self._set_rate()

    @torch.no_grad()
    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        for transform in pl_module.transforms:
            batch = transform(batch)
        self._baseline.append(self.untrained.batch_loss(batch))

    def _set_rate(self) -> None:
        self._rate = LOWEST * (HIGHEST / LOWEST) ** (len(self.rates) / (NUM_STEPS - 1))
        for group, factor in zip(self._groups, self._factors):
            group["lr"] = self._rate * factor

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == len(self.rates):
            return  # gradients are still accumulated
        loss = self._record(pl_module)
        self._set_rate()
        if len(self.losses) == 1:
            self._first = self._recent = loss
        self._recent = 0.8 * self._recent + 0.2 * loss
        self._lowest = min(self._lowest, self._recent)
        span = max(self._first - self._lowest, 0.5 * abs(self._first))
        if not math.isfinite(loss) or self._recent > self._first + 2 * span:
            raise _Diverged

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        if isinstance(exception, NonFiniteStep):  # the last loss belongs to the curve
            self._record(pl_module)

    def _record(self, module: Any) -> float:
        self.baselines.append(float(torch.stack(self._baseline).mean()))
        self._baseline = []
        loss: float = module.running.read()["train/loss"] - self.baselines[-1] + self.baselines[0]
        self.rates.append(self._rate)
        self.losses.append(loss)
        return loss

    def comparable_losses(self) -> list[float]:
        """Return the losses, shifted to the level of the mean untrained loss."""
        shift = sum(self.baselines) / len(self.baselines) - self.baselines[0]
        return [loss + shift for loss in self.losses]


def range_test(config: DictConfig, data: DataModule) -> tuple[list[float], list[float]]:
    """Return learning rates and training losses of up to `NUM_STEPS` optimizer steps, in order of the rates.

    A model is built for the test from the configuration, with its loss, optimizer, clipping, precision and
    regularization, in one process and without the schedule. The state of torch's random numbers is restored.

    Args:
        config: configuration of a run; its `optim.lr` is ignored.
        data: its data module, set up.

    Raises:
        ConfigError: the optimizer has no learning rate.
    """
    if "lr" not in config.optim:
        raise ConfigError(f"optim.lr: {config.optim._target_} has no learning rate to look for")
    trial = OmegaConf.merge(config, {"optim": {"lr": LOWEST}})
    assert isinstance(trial, DictConfig)
    trial.schedule = None
    state = torch.get_rng_state()
    with tempfile.TemporaryDirectory() as folder:
        module = build_module(trial, data.spec)
        rate_test = _RateTest(copy.deepcopy(module))
        node = dict(OmegaConf.to_container(config.trainer, resolve=True))  # type: ignore[arg-type]
        node |= {"devices": 1, "num_nodes": 1, "strategy": "auto", "max_time": None, "max_epochs": -1}
        node |= {"max_steps": NUM_STEPS, "limit_val_batches": 0, "val_check_interval": None}
        node["log_every_n_steps"] = sys.maxsize  # the callback reads every loss
        callbacks = [instantiate(part) for part in config.regularization.values() if part is not None]
        trainer = instantiate(node, callbacks=[*callbacks, rate_test], logger=None, default_root_dir=folder)
        try:
            trainer.fit(module, datamodule=data)
        except (_Diverged, NonFiniteStep):
            pass
        finally:
            data.trainer = None
            torch.set_rng_state(state)
    return rate_test.rates, rate_test.comparable_losses()


def find_lr(config: DictConfig, data: DataModule, picture: Path) -> dict[str, Any]:
    """Run the test, draw it, and recommend a rate; return plain Python for JSON.

    Raises:
        ConfigError: no rate can be recommended.
        WriteError: the folder of the picture cannot be created.
    """
    started = time.perf_counter()
    rates, losses = range_test(config, data)
    try:
        recommendation: Recommendation = recommend(rates, losses)
    except ValueError as error:
        raise ConfigError(f"optim.lr: {error}") from error
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot make {picture.parent}: {error.strerror}") from error
    from lit_mlfund.reports.lr_range_figure import range_test_figure  # imports matplotlib

    with whole_file(picture) as path:
        range_test_figure(rates, losses, recommendation).savefig(path, format="png")
    return {
        "lr": recommendation.lr,
        "override": f"optim.lr={recommendation.lr:g}",
        "reason": recommendation.reason,
        "lowest_at": recommendation.lowest_at,
        "steepest_at": recommendation.steepest_at,
        "steps": len(rates),
        "seconds": round(time.perf_counter() - started, 3),
        "picture": str(picture),
        "rates": rates,
        "losses": [loss if math.isfinite(loss) else None for loss in losses],
    }


def replace_auto_lr(config: DictConfig, data: DataModule, run_dir: Path) -> dict[str, Any] | None:
    """Replace `optim.lr=auto` by a number in `config` and `run.yaml`; return a summary, or None without `auto`."""
    if config.optim.get("lr") != AUTO:
        return None
    if torch.distributed.is_torchelastic_launched():
        raise ValueError(
            "optim.lr: auto looks for the rate in one process; run mlfund lr-find and give its value"
        )
    result = find_lr(config, data, run_dir / "pictures" / "lr_find.png")
    write_json(run_dir / "lr_find.json", result)
    config.optim.lr = result["lr"]
    rewrite(run_dir, config, f"optim.lr was auto: {result['reason']}")
    return {key: result[key] for key in ("lr", "reason", "lowest_at", "steepest_at", "steps", "seconds")}


def run_lr_find(config: dict[str, Any]) -> dict[str, Any]:
    """Find the learning rate for a checked configuration; write picture, JSON and TensorBoard to a new folder.

    Raises:
        ConfigError, DataError, WriteError: the user's input or disk is wrong.
    """
    quiet_lightning()
    node = OmegaConf.create(config)
    seed_everything(node.seed)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    root = Path(node.runs_dir).expanduser().absolute() / "lr_find"
    folder = root / f"{stamp}-{node.name}-{secrets.token_hex(3)}"
    try:
        data = build_data(node)
        data.setup("fit")
        apply_budget(node, data)
        result = find_lr(node, data, folder / "lr_find.png")
    except ValueError as error:
        raise ConfigError(problems_of(error) or str(error)) from error
    write_json(folder / "lr_find.json", result)
    if node.logger.get("tensorboard"):
        _publish(folder, result)
    return {key: value for key, value in result.items() if key not in ("rates", "losses")}


def _publish(folder: Path, result: dict[str, Any]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:
        add_picture(writer, "lr_find", folder / "lr_find.png")
        writer.add_text("lr_find", f"`{result['override']}`: {result['reason']}")
        for step, (rate, loss) in enumerate(zip(result["rates"], result["losses"])):
            writer.add_scalar("lr_find/lr", rate, step)
            if loss is not None:
                writer.add_scalar("lr_find/loss", loss, step)
