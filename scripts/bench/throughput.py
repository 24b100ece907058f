"""Rows and tokens per second of training on one device: DLRM at large batches, and a decoder in bfloat16.

`held` serves the rows from the device's memory, as `mlfund train` does where they fit; `copied` serves them from the
host; `hand` is the five-line loop over a `DataLoader` with pinned memory. The floating-point operations of a token
are 6 for each weight of a matrix product, and 6 T d per layer for the attention to half of T positions (Chowdhery et
al. 2022, PaLM, appendix B); the peak is the dense bfloat16 one of the maker's data sheet.

python scripts/bench/throughput.py --device cuda
python scripts/bench/throughput.py --small            # on a CPU, to see whether it runs
"""

from __future__ import annotations

import argparse
import os
import statistics

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from embedding_tables import make_case
from loop import make_config, silence
from loop_cases import Case, CaseData, label_outputs
from loop_contestants import Clock, fit, hand
from torch import Tensor, nn

from lit_mlfund.data.serving import placement
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.runs.assembly.objects import build_module, quiet_lightning

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12}  # FLOP/s, NVIDIA's data sheets


def decoder(
    dim: int, depth: int, length: int, vocabulary: int, batch: int, steps: int, more: list[str]
) -> Case:
    def tensors(size: int) -> tuple[Tensor, ...]:
        ids = torch.randint(vocabulary, (size, length + 1))
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    overrides = ["task=multiclass", "data=text_lm", "monitor=val/log_loss", "callbacks=none", "logger=none"]
    overrides += [f"model.dim={dim}", f"model.depth={depth}", f"model.num_heads={max(1, dim // 64)}"]
    overrides += ["model.dropout=0", *more]
    field = Field("sequence", (length,), cardinalities=(vocabulary,))
    spec = DataSpec("multiclass", {"tokens": field}, classes=tuple(map(str, range(vocabulary))))
    return Case(
        1.0, overrides, spec, batch, steps, tensors,
        lambda ids, y: PointStore({"tokens": ids}, y),
        lambda model, ids, y: model({"tokens": ids}),
        lambda logits, ids, y: F.cross_entropy(logits.flatten(0, 1), y.flatten()),
        label_outputs,
    )  # fmt: skip


class EpochClock(Clock):
    """Measures each epoch by itself: compilers and allocators work in the first."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.epochs: list[float] = []

    def stop(self) -> None:
        self.epochs.append(self.now() - self._since)


def second_epoch(case: Case, device: str, held: bool = True) -> float:
    """Return the seconds of the steps of the second epoch, with the rows on the device or on the host."""
    config, clock = make_config(case, device), EpochClock(device)
    config.trainer.max_epochs = 2
    share = placement.HELD_SHARE
    placement.HELD_SHARE = share if held else 0.0
    try:
        fit(case, config, CaseData(case, case.steps), steps=clock)
    finally:
        placement.HELD_SHARE = share
    return clock.epochs[-1]


def show_dlrm(args: argparse.Namespace) -> None:
    rows, columns, batch_size, steps = (1_000, 4, 256, 10) if args.small else (100_000, 26, 16_384, 60)
    case = make_case("dense", rows, columns, steps, ["model.dropout=0", "logger=none"], batch_size)
    config = make_config(case, args.device)
    print(f"\nDLRM, 13 numbers, {columns} tables of {rows:,} rows of width 16, batch {batch_size:,}")
    num_rows = batch_size * steps
    taken: dict[str, list[float]] = {"hand": [], "copied": [], "held": []}
    for _ in range(args.repeats):
        with silence():
            taken["hand"].append(hand(case, config, case.steps, args.device, fused=True))
            for name in ("copied", "held"):
                taken[name].append(second_epoch(case, args.device, held=name == "held"))
    for name, seconds in taken.items():
        print(f"{name:10}{num_rows / statistics.median(seconds) / 1e6:10.2f} million rows/s", flush=True)


def show_decoder(args: argparse.Namespace) -> None:
    dim, depth, length, vocabulary = (64, 2, 64, 256) if args.small else (1024, 12, 1024, 8192)
    batch, steps = (4, 3) if args.small else (16, 10)
    precision = [] if args.device == "cpu" else ["trainer.precision=bf16-mixed"]
    told = " ".join(precision) or "float32"
    print(f"\ndecoder of {depth} layers of width {dim}, {length} tokens, batch {batch}, {told}")
    for name, more in {"eager": [], "compiled": ["trainer.compile=true"]}.items():
        case = decoder(dim, depth, length, vocabulary, batch, steps, [*precision, *more])
        config = make_config(case, args.device)
        torch.compiler.reset()
        with silence():
            seconds = second_epoch(case, args.device)
            model = build_module(config, case.spec).model
        tokens = batch * steps * length
        weights = sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Linear))
        operations = tokens * (6 * weights + 6 * depth * length * dim)
        card = torch.cuda.get_device_name() if args.device == "cuda" else ""
        peak = next((value for name_, value in PEAKS.items() if name_ in card), None)
        share = f", {operations / seconds / peak:.0%} of the peak" if peak else ""
        print(
            f"{name:10}{tokens / seconds:12,.0f} tokens/s{operations / seconds / 1e12:10.2f} TFLOP/s{share}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="sizes that a CPU does in seconds")
    parser.add_argument("--only", nargs="+", default=["dlrm", "decoder"], choices=["dlrm", "decoder"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet_lightning()
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU, 1 thread"
    print(f"{device}; torch {torch.__version__}; {args.repeats} repeats")
    for name in args.only:
        {"dlrm": show_dlrm, "decoder": show_decoder}[name](args)


if __name__ == "__main__":
    main()
