"""InfoNCE in blocks against the B×B formula: time (interleaved runs, medians), peak memory and agreement.

python scripts/bench/contrastive.py                      # one CPU thread, batch 16384 × 64
python scripts/bench/contrastive.py --device cuda --repeats 20
python scripts/bench/contrastive.py --batch 4096 --cases plain symmetric
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses import infonce_loss

CASES = {
    "plain": {},
    "cold (temperature 0.01)": {"temperature": 0.01},
    "symmetric": {"symmetric": True},
    "ids, log_q": {"item_id": True, "log_q": True},
    "negatives": {"negatives": True},
    "everything": {"item_id": True, "log_q": True, "negatives": True, "symmetric": True},
}


def dense_loss(
    query: Tensor,
    item: Tensor,
    item_id: Tensor | None = None,
    negatives: Tensor | None = None,
    log_q: Tensor | None = None,
    temperature: float = 0.07,
    symmetric: bool = False,
) -> Tensor:
    """InfoNCE as one writes it down."""
    query, item = F.normalize(query, dim=1), F.normalize(item, dim=1)
    own = torch.arange(len(query), device=query.device)
    scores = query @ item.T / temperature
    if log_q is not None:
        scores = scores - log_q
    if item_id is not None:
        same = item_id[:, None] == item_id
        scores = scores.masked_fill(same.fill_diagonal_(False), -torch.inf)
    columns = scores
    if negatives is not None:
        columns = torch.cat((scores, query @ F.normalize(negatives, dim=1).T / temperature), 1)
    loss = F.cross_entropy(columns, own)
    return (loss + F.cross_entropy(scores.T, own)) / 2 if symmetric else loss


def make_inputs(case: str, batch: int, width: int, device: str) -> tuple[list[Tensor], dict]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(batch, width, generator=generator)
    item = query + 2 * torch.randn(batch, width, generator=generator)
    item_id = torch.randint(max(1, batch // 4), (batch,), generator=generator)
    available = {
        "item_id": item_id,
        "log_q": torch.rand(batch, generator=generator)[item_id].log(),
        "negatives": torch.randn(batch // 8, width, generator=generator),
    }
    options = dict(CASES[case])
    for name, tensor in available.items():
        if options.get(name):
            options[name] = tensor.to(device)
    leaves = [query.to(device).requires_grad_(), item.to(device).requires_grad_()]
    if "negatives" in options:
        leaves.append(options["negatives"].requires_grad_())
    return leaves, options


def run(loss: Callable[..., Tensor], leaves: list[Tensor], options: dict) -> tuple[float, list[Tensor]]:
    """Seconds of forward and backward, and the loss with its gradients."""
    is_cuda = leaves[0].is_cuda
    if is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    value = loss(leaves[0], leaves[1], **options)
    gradients = torch.autograd.grad(value, leaves)
    if is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start, [value.detach(), *gradients]


def peak_megabytes(args: argparse.Namespace, case: str, which: str) -> float:
    """Peak memory over the inputs; on a CPU in a process of its own, which no earlier run has inflated."""
    command = [sys.executable, __file__, "--device", args.device, "--batch", str(args.batch)]
    command += ["--width", str(args.width), "--threads", str(args.threads), "--memory", case, which]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(args: argparse.Namespace, case: str, which: str) -> None:
    loss = {"dense": dense_loss, "blocks": infonce_loss}[which]
    run(loss, *make_inputs(case, 512, args.width, args.device))  # libraries take memory at first use
    leaves, options = make_inputs(case, args.batch, args.width, args.device)
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(loss, leaves, options)
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
    else:
        before = status_kilobytes("VmRSS")
        run(loss, leaves, options)
        print((status_kilobytes("VmHWM") - before) / 2**10)


def status_kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=16384)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory:
        return print_peak(args, *args.memory)

    device = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {args.threads} thread(s)"
    print(f"InfoNCE, forward + backward, batch {args.batch} × {args.width}, float32")
    print(f"{device}, torch {torch.__version__}")
    columns = f"{'dense':>10}{'blocks':>10}{'ratio':>8}"
    print(f"{'case':24}{columns}{columns}  difference")
    for case in args.cases:
        leaves, options = make_inputs(case, args.batch, args.width, args.device)
        seconds: dict[str, list[float]] = {"dense": [], "blocks": []}
        for _ in range(args.repeats):
            taken, expected = run(dense_loss, leaves, options)
            seconds["dense"].append(taken)
            taken, found = run(infonce_loss, leaves, options)
            seconds["blocks"].append(taken)
        difference = max(((a - b).norm() / b.norm()).item() for a, b in zip(found, expected))
        dense, blocks = (statistics.median(times) for times in seconds.values())
        dense_mb, blocks_mb = (peak_megabytes(args, case, which) for which in seconds)
        print(
            f"{case:24}{dense * 1e3:8.0f}ms{blocks * 1e3:8.0f}ms{blocks / dense:8.2f}"
            f"{dense_mb:8.0f}MB{blocks_mb:8.1f}MB{dense_mb / blocks_mb:7.0f}×  {difference:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
