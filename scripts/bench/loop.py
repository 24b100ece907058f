"""A step of this project, and of Lightning, against the five-line loop that people write by hand.

Every column is a ratio to that loop (`DataLoader(TensorDataset)`, zero_grad, loss, backward, step), the median
over interleaved runs on one thread. `fused` is the loop with AdamW's fused kernel, which ours uses. `ours` is
what `mlfund train` builds: clipping, schedule, training metrics, TensorBoard, checkpoints, progress.
`lightning` is its Trainer with all defaults; `usual` the same as it is mostly configured: `self.log` and
torchmetrics in the step, LearningRateMonitor, ModelCheckpoint, tqdm, clipping, schedule. The last column says
whether our weights equal, to the bit, those of a hand loop with the same batches, optimizer, clipping and
schedule.

python scripts/bench/loop.py
python scripts/bench/loop.py --only mlp-30-64-1 --repeats 15
python scripts/bench/loop.py --what validation   # a pass over the validation split, its metrics included
python scripts/bench/loop.py --what ends         # the start of fit and the end of an epoch of 100 steps
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightning.pytorch as pl
import torch
import torchmetrics
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from loop_cases import CASES, Case, CaseData
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lit_mlfund.callbacks import PreemptionFlag
from lit_mlfund.modules import TaskModule
from lit_mlfund.optim import adamw, cosine, parameter_groups
from lit_mlfund.runtime.build import build_module, build_trainer, quiet_lightning
from lit_mlfund.runtime.compose import Composer


class Clock:
    """Seconds between `start` and `stop`: of this process on a CPU (other people's load disturbs those least)."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds, self._since = device, 0.0, 0.0

    def now(self) -> float:
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def start(self) -> None:
        self._since = self.now()

    def stop(self) -> None:
        self.seconds += self.now() - self._since


def make_config(case: Case, device: str) -> DictConfig:
    lines = [*case.overrides, "trainer.max_epochs=1", f"trainer.accelerator={device}"]
    return OmegaConf.create(Composer(None, lines).checked(lines).config)


# --- the contestants: each trains one epoch and returns the seconds of its steps --------------------------


def hand(case: Case, config: DictConfig, steps: int, device: str, fused: bool = False) -> float:
    model = build_module(config, case.spec).model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
    dataset = TensorDataset(*case.make_tensors(steps))
    loader = DataLoader(dataset, case.batch_size, shuffle=True, pin_memory=device == "cuda")
    clock = Clock(device)
    clock.start()
    for batch in loader:
        loss = case.loss(model, *(part.to(device, non_blocking=True) for part in batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    clock.stop()
    return clock.seconds


def ours(case: Case, config: DictConfig, steps: int, device: str) -> float:
    return fit(case, config, CaseData(case, steps), Clock(device))[0].seconds


def fit(case: Case, config: DictConfig, data: CaseData, steps: Clock) -> tuple[Clock, TaskModule]:
    """Train as `mlfund train` does; `steps` runs from the first step to the validation."""
    data.setup()
    with tempfile.TemporaryDirectory() as folder:
        module = build_module(config, case.spec)
        trainer = build_trainer(config, Path(folder), PreemptionFlag()).trainer
        module.use_lean_steps(trainer)
        module.on_train_epoch_start, module.on_validation_start = steps.start, steps.stop
        trainer.fit(module, datamodule=data)
    return steps, module


def lightning(case: Case, config: DictConfig, steps: int, device: str) -> float:
    return run_lightning(Plain(case, build_module(config, case.spec).model), case, steps, device)


def usual(case: Case, config: DictConfig, steps: int, device: str) -> float:
    checkpoints = ModelCheckpoint(monitor="val/loss", save_last=True)
    callbacks = [LearningRateMonitor("step"), checkpoints, TQDMProgressBar()]
    module = Usual(case, build_module(config, case.spec).model)
    return run_lightning(module, case, steps, device, callbacks=callbacks, gradient_clip_val=1.0)


class Plain(pl.LightningModule):
    """As little as Lightning needs."""

    def __init__(self, case: Case, model: nn.Module) -> None:
        super().__init__()
        self.case, self.model = case, model

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.case.loss(self.model, *batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.case.loss(self.model, *batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Usual(Plain):
    """With the habits of most code for Lightning."""

    def __init__(self, case: Case, model: nn.Module) -> None:
        super().__init__(case, model)
        self.mean_loss = torchmetrics.MeanMetric()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.mean_loss(loss.detach())
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/mean_loss", self.mean_loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.case.loss(self.model, *batch), prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def run_lightning(module: Plain, case: Case, steps: int, device: str, **options: Any) -> float:
    clock = Clock(device)
    module.on_train_epoch_start, module.on_validation_start = clock.start, clock.stop
    options |= {"max_epochs": 1, "accelerator": device, "num_sanity_val_steps": 0}
    train, val = (
        DataLoader(TensorDataset(*case.make_tensors(size)), case.batch_size, shuffle=size > 1)
        for size in (steps, 1)
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(default_root_dir=folder, **options)
        trainer.fit(module, train, val)
    return clock.seconds


CONTESTANTS: dict[str, Callable[..., float]] = {
    "hand": hand,
    "fused": lambda *arguments: hand(*arguments, fused=True),
    "ours": ours,
    "lightning": lightning,
    "usual": usual,
}


# --- equal weights ----------------------------------------------------------------------------------------


def hand_weights(case: Case, config: DictConfig, steps: int) -> dict[str, Tensor]:
    """Weights after an epoch by hand on the CPU, with our batches, optimizer, clipping and schedule."""
    module = build_module(config, case.spec)
    model = module.model
    optimizer = adamw(parameter_groups(module, 0.01), lr=1e-3)
    schedule = cosine(optimizer, steps)
    tensors, data = case.make_tensors(steps), CaseData(case, steps)
    data.setup()
    for index in data.train_dataloader().order(0):
        optimizer.zero_grad()
        case.loss(model, *(part[index] for part in tensors)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.state_dict()


def same_weights(case: Case, config: DictConfig, steps: int) -> bool:
    expected = hand_weights(case, config, steps)
    _, module = fit(case, config, CaseData(case, steps), Clock("cpu"))
    found = module.model.state_dict()
    return all(torch.equal(value, found[name]) for name, value in expected.items())


# --- the tables -------------------------------------------------------------------------------------------


def compare_steps(name: str, args: argparse.Namespace) -> str:
    case, config = CASES[name], make_config(CASES[name], args.device)
    steps = args.steps or case.steps
    seconds: dict[str, list[float]] = {contestant: [] for contestant in CONTESTANTS}
    for repeat in range(args.repeats + 1):
        for contestant, run in CONTESTANTS.items():
            with silence():
                taken = run(case, config, steps if repeat else 10, args.device)
            if repeat:  # the first is for warming up
                seconds[contestant].append(taken)
    ratios = [
        statistics.median(one / base for one, base in zip(seconds[contestant], seconds["hand"]))
        for contestant in ("fused", "ours", "lightning", "usual")
    ]
    with silence():
        same = same_weights(case, config, 23) if args.device == "cpu" else None
    milliseconds = 1000 * statistics.median(seconds["hand"]) / steps
    told = {True: "equal", False: "DIFFERENT", None: "-"}[same]
    columns = "".join(f"{ratio:11.2f}" for ratio in ratios)
    return f"{name:20}{milliseconds:9.2f} ms{columns}{case.limit:9.2f}   {told}"


@contextlib.contextmanager
def silence() -> Any:
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of an epoch; by default enough for each model")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU, 1 thread"
    print(f"{device}; torch {torch.__version__}, lightning {pl.__version__}; {args.repeats} repeats")
    print(f"{'':20}{'hand':>12}{'fused':>11}{'ours':>11}{'lightning':>11}{'usual':>11}{'limit':>9}   weights")
    for name in args.only:
        print(compare_steps(name, args), flush=True)


if __name__ == "__main__":
    main()
