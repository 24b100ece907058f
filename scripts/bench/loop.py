"""A step of this project, and of Lightning, against the five-line loop that people write by hand.

Every column is a ratio to that loop (`DataLoader(TensorDataset)`, zero_grad, loss, backward, step), the
median over interleaved runs on one thread. `fused` is the loop with AdamW's fused kernel, which ours uses.
`ours` is what `mlfund train` builds: clipping, schedule, training metrics, TensorBoard, checkpoints, progress.
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
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightning.pytorch as pl
import torch
from loop_cases import CASES, Case, CaseData
from loop_contestants import Clock, fit, hand, lightning, ours, usual
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lit_mlfund.config.compose import Composer
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.outputs import join
from lit_mlfund.optim import adamw, cosine, parameter_groups
from lit_mlfund.runs.assembly.objects import build_module, quiet_lightning

CONTESTANTS: dict[str, Callable[..., float]] = {
    "hand": hand,
    "fused": lambda *arguments: hand(*arguments, fused=True),
    "ours": ours,
    "lightning": lightning,
    "usual": usual,
}


def make_config(case: Case, device: str) -> DictConfig:
    lines = [*case.overrides, "trainer.max_epochs=1", f"trainer.accelerator={device}"]
    return OmegaConf.create(Composer(None, lines).checked(lines).config)


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
        nn.utils.clip_grad_norm_(model.parameters(), config.trainer.gradient_clip_val)
        optimizer.step()
        schedule.step()
    return model.state_dict()


def same_weights(case: Case, config: DictConfig, steps: int) -> bool:
    expected = hand_weights(case, config, steps)
    found = fit(case, config, CaseData(case, steps), Clock("cpu")).model.state_dict()
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
    columns = "".join(f"{ratio:11.2f}" for ratio in [*ratios, case.limit])
    return f"{name:20}{milliseconds:9.2f} ms{columns}{told:>11}"


def compare_validation(name: str, args: argparse.Namespace) -> str:
    """A pass over `case.steps` batches and its metrics, to loops without gradients in blocks as large."""
    case, config = CASES[name], make_config(CASES[name], args.device)
    config.trainer.max_epochs = 5
    seconds = []
    for _ in range(args.repeats + 1):
        clock = Clock(args.device)
        data = CaseData(case, 1, val_batches=case.steps)
        with silence():
            module = fit(case, config, data, validation=clock)
        by_hand = (hand_validation(case, module, data, args.device, slices) for slices in (False, True))
        seconds.append((clock.seconds / config.trainer.max_epochs, *by_hand))
    seconds = seconds[1:]  # the first is for warming up
    milliseconds = 1000 * statistics.median(hand for _, hand, _ in seconds)
    ratios = (statistics.median(times[0] / times[column] for times in seconds) for column in (1, 2))
    return f"{name:20}{milliseconds:9.1f} ms" + "".join(f"{ratio:11.2f}" for ratio in ratios)


@torch.no_grad()
def hand_validation(case: Case, module: TaskModule, data: CaseData, device: str, slices: bool) -> float:
    """Seconds of a loop over a `DataLoader`, or over slices of tensors that lie on the device."""
    model = module.model.to(device).eval()
    size = data.loader("val").batch_size
    tensors = [part.to(device) if slices else part for part in case.make_tensors(case.steps, seed=1)]
    batches = (
        zip(*(part.split(size) for part in tensors)) if slices else DataLoader(TensorDataset(*tensors), size)
    )
    losses, found = [], []
    clock = Clock(device)
    clock.start()
    for batch in batches:
        batch = [part.to(device) for part in batch]
        output = case.forward(model, *batch)
        losses.append(case.criterion(output, *batch))
        found.append(case.outputs(output, *batch))
    float(torch.stack(losses).mean())
    module.evaluate(join(found), "val").values()
    clock.stop()
    return clock.seconds


def compare_ends(name: str, args: argparse.Namespace) -> str:
    """What `fit` takes beside its steps and its validation, as a share of the steps."""
    case, config = CASES[name], make_config(CASES[name], args.device)
    rests, shares = [], []
    for _ in range(args.repeats + 1):
        steps, validation, whole = (Clock(args.device) for _ in range(3))
        with silence():
            fit(case, config, CaseData(case, args.steps or 100), steps, validation, whole)
        rests.append(whole.seconds - steps.seconds - validation.seconds)
        shares.append(rests[-1] / steps.seconds)
    return (
        f"{name:20}{1000 * statistics.median(rests[1:]):9.1f} ms{100 * statistics.median(shares[1:]):10.1f}%"
    )


TABLES = {
    "steps": (compare_steps, ("hand", "fused", "ours", "lightning", "usual", "limit", "weights")),
    "validation": (compare_validation, ("hand", "ours", "to slices")),
    "ends": (compare_ends, ("fit - steps", "share")),
}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--what", nargs="+", default=["steps"], choices=list(TABLES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of an epoch; by default enough for each model")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU, 1 thread"
    print(f"{device}; torch {torch.__version__}, lightning {pl.__version__}; {args.repeats} repeats")
    for what in args.what:
        compare, columns = TABLES[what]
        print(f"\n{what:20}{columns[0]:>12}" + "".join(f"{column:>11}" for column in columns[1:]))
        for name in args.only:
            print(compare(name, args), flush=True)


if __name__ == "__main__":
    main()
