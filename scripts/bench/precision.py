"""Mixed precision, torch.compile and accumulation on each model: what they do to the time of a step and to the result.

Every column is a ratio to plain float32 (the lean steps of `mlfund train`), the median over interleaved runs on one
thread, of the time of an epoch behind the first. `accumulate` takes four batches of a quarter of the size for one step.
`start` is what the compiler adds to the first epoch, its validation included, on an empty cache. In brackets is what
becomes of the monitored metric: the mean difference over the seeds, and its standard error.

python scripts/bench/precision.py
python scripts/bench/precision.py --only mlp resnet --repeats 5
python scripts/bench/precision.py --device cuda
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="inductor-")

import torch
from loop import silence
from loop_contestants import Clock
from omegaconf import OmegaConf
from torch import Tensor

from lit_mlfund.config.compose import Composer
from lit_mlfund.data.serving.store import Store
from lit_mlfund.datamodules import DataModule
from lit_mlfund.runs.assembly.objects import build_data, build_module, build_trainer, quiet_lightning

VALIDATION = 4096
VARIANTS = {
    "float32": [],
    "bf16": ["trainer.precision=bf16-mixed"],
    "compile": ["trainer.compile=true"],
    "both": ["trainer.precision=bf16-mixed", "trainer.compile=true"],
    "accumulate": ["trainer.accumulate_grad_batches=4"],
}


@dataclass(frozen=True)
class Case:
    """A model on its data: what is composed, and how many training batches an epoch has.

    An epoch is that short, and validation has `VALIDATION` examples, where they can be drawn.
    """

    overrides: list[str]
    steps: int


CASES = {
    "linear": Case(["task=binary", "model=linear"], 200),
    "mlp": Case(["task=binary", "model=mlp"], 200),
    "dlrm": Case(["task=binary", "model=dlrm"], 200),
    "cnn": Case(["task=multiclass", "data=mnist5k", "model=cnn"], 24),
    "resnet": Case(["task=multiclass", "data=mnist5k", "model=resnet"], 16),
    "text_transformer": Case(["task=multiclass", "data=language_id", "model=text_transformer"], 12),
    "list_mlp": Case(["task=ranking", "model=list_mlp"], 40),
    "list_attention": Case(["task=ranking", "model=list_attention"], 12),
    "two_tower": Case(["task=retrieval", "model=two_tower"], 12),
}


class Drawn:
    """Some examples of a store, drawn at random."""

    def __init__(self, store: Store, size: int) -> None:
        drawn = torch.randperm(len(store), generator=torch.Generator().manual_seed(0))[:size]
        self.store, self.rows = store, drawn
        if (lengths := getattr(store, "lengths", None)) is not None:
            self.lengths = lengths[drawn]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index: Tensor) -> Any:
        return self.store.batch(self.rows[index])


@dataclass
class Seen:
    """Seconds of each epoch's steps, wall-clock seconds of each whole epoch, and the metric at the end."""

    metric: float = 0.0
    steps: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)

    @property
    def steady(self) -> float:
        return statistics.median(self.steps[1:])

    @property
    def start(self) -> float:
        return self.epochs[0] - statistics.median(self.epochs[1:])


def make_data(case: Case) -> DataModule:
    config = OmegaConf.create(Composer(None, case.overrides).checked(case.overrides).config)
    data = build_data(config)
    data.setup()
    data.stores["train"] = Drawn(data.stores["train"], case.steps * config.data.batch_size)
    if config.shape != "retrieval":  # where each row of the split has its own items to leave out
        data.stores["val"] = Drawn(data.stores["val"], VALIDATION)
    return data


def train(case: Case, data: DataModule, variant: str, seed: int, args: argparse.Namespace) -> Seen:
    lines = [*case.overrides, *VARIANTS[variant], f"seed={seed}", f"trainer.max_epochs={args.epochs}"]
    lines += [f"trainer.accelerator={args.device}", "logger=none", "callbacks=none"]
    config = OmegaConf.create(Composer(None, lines).checked(lines).config)
    data.seed = seed
    data.batch_size = config.data.batch_size // (4 if variant == "accumulate" else 1)
    torch.compiler.reset()
    seen, clock = Seen(), Clock(args.device)
    module = build_module(config, data.spec)
    measure, begun = module.on_validation_epoch_end, 0.0

    def begin() -> None:
        nonlocal begun
        begun = time.perf_counter()
        clock.seconds = 0.0
        clock.start()

    def end_of_steps() -> None:
        clock.stop()
        seen.steps.append(clock.seconds)

    def end() -> None:
        measure()
        seen.epochs.append(time.perf_counter() - begun)

    module.on_train_epoch_start, module.on_validation_start = begin, end_of_steps
    module.on_validation_epoch_end = end
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(config, Path(folder)).trainer
        module.use_lean_steps(trainer)
        trainer.fit(module, datamodule=data)
    seen.metric = module.measured["val"][config.monitor.removeprefix("val/")]
    return seen


def compare(name: str, args: argparse.Namespace) -> str:
    case = CASES[name]
    with silence():
        data = make_data(case)
    seen: dict[str, list[Seen]] = {variant: [] for variant in ("float32", *args.variants)}
    for seed in range(args.repeats):
        for variant, runs in seen.items():
            with silence():
                runs.append(train(case, data, variant, seed, args))
    base = seen["float32"]
    milliseconds = 1000 * statistics.median(run.steady for run in base) / case.steps
    row = [name, f"{milliseconds:.1f} ms", f"{statistics.mean(run.metric for run in base):.4f}"]
    for variant in list(VARIANTS)[1:]:
        if variant not in seen:
            row.append("")
            continue
        pairs = list(zip(seen[variant], base))
        ratio = statistics.median(run.steady / plain.steady for run, plain in pairs)
        change = [run.metric - plain.metric for run, plain in pairs]
        error = statistics.stdev(change) / len(change) ** 0.5 if len(change) > 1 else float("nan")
        row.append(f"{ratio:.2f} ({statistics.mean(change):+.4f} ± {error:.4f})")
    row.append(f"{seen['compile'][0].start - base[0].start:.0f} s" if "compile" in seen else "")
    return "| " + " | ".join(row) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS)[1:], choices=list(VARIANTS)[1:])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU, 1 thread"
    print(f"{device}; torch {torch.__version__}; {args.repeats} repeats of {args.epochs} epochs\n")
    print("| model | step | metric | bf16-mixed | compile | both | accumulate 4 × ¼ | start |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.only:
        print(compare(name, args), flush=True)


if __name__ == "__main__":
    main()
