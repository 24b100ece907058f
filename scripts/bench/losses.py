"""Speed and peak memory of the ranking losses as ratios to the same formulas by dense autograd, interleaved.

    python scripts/bench/losses.py [--device cuda] [--repeats 5] [--threads 1] [--only lambdarank]

The dense versions are straightforward PyTorch over `[Q, L, L]` tensors (ListNet: one softmax cross-entropy).
Value and gradient of both are compared before anything is timed. A ratio is the median over rounds in which
the two run forward and backward one after the other, each for about the same time. Memory is the peak over
the inputs: of the allocator on a GPU, of the resident set of a warm fresh process (Linux) on a CPU.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses import (
    approx_ndcg_loss,
    lambdarank_loss,
    listmle_loss,
    listnet_loss,
    pairwise_hinge_loss,
    ranknet_loss,
)

Loss = Callable[[Tensor, Tensor], Tensor]
SHAPES = ((128, 100), (32, 500), (8, 2000))


def differences(scores: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """s_i − s_j of all pairs, and which of them have i more relevant than j."""
    better = relevance[:, :, None] > relevance[:, None, :]
    return scores[:, :, None] - scores[:, None, :], better


def dense_lambdarank(scores: Tensor, relevance: Tensor, k: int | None = None) -> Tensor:
    length = scores.shape[1]
    rank = scores.detach().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    gain, discount = torch.exp2(relevance) - 1, 1 / torch.log2(rank + 2.0)
    ranks = torch.arange(length, device=scores.device)
    ideal = gain.sort(dim=1, descending=True).values[:, :k] / torch.log2(ranks[:k] + 2.0)
    difference, better = differences(scores, relevance)
    delta = (gain[:, :, None] - gain[:, None, :]) * (discount[:, :, None] - discount[:, None, :]).abs()
    delta = delta / ideal.sum(1)[:, None, None]
    if k is not None:
        better = better & ((rank[:, :, None] < k) | (rank[:, None, :] < k))
    return (F.softplus(-difference) * delta * better).sum((1, 2)).mean()


def dense_ranknet(scores: Tensor, relevance: Tensor) -> Tensor:
    difference, better = differences(scores, relevance)
    return ((F.softplus(-difference) * better).sum((1, 2)) / better.sum((1, 2))).mean()


def dense_hinge(scores: Tensor, relevance: Tensor) -> Tensor:
    difference, better = differences(scores, relevance)
    return (((1 - difference).relu() * better).sum((1, 2)) / better.sum((1, 2))).mean()


def one_softmax(scores: Tensor, relevance: Tensor) -> Tensor:
    return F.cross_entropy(scores, relevance.softmax(1))


def dense_listmle(scores: Tensor, relevance: Tensor) -> Tensor:
    _, better = differences(scores, relevance)
    lower = scores[:, None, :].masked_fill(~better, -1e30).logsumexp(2)
    return F.softplus(lower - scores).sum(1).mean()


def dense_approx_ndcg(scores: Tensor, relevance: Tensor) -> Tensor:
    rank = 0.5 + ((scores[:, None, :] - scores[:, :, None]) / 0.1).sigmoid().sum(2)
    gain = torch.exp2(relevance) - 1
    ranks = torch.arange(scores.shape[1], device=scores.device)
    ideal = (gain.sort(dim=1, descending=True).values / torch.log2(ranks + 2.0)).sum(1)
    return (1 - (gain / torch.log2(1 + rank)).sum(1) / ideal).mean()


LOSSES: dict[str, tuple[Loss, Loss]] = {
    "lambdarank": (lambdarank_loss, dense_lambdarank),
    "lambdarank k=30": (partial(lambdarank_loss, k=30), partial(dense_lambdarank, k=30)),
    "ranknet": (ranknet_loss, dense_ranknet),
    "pairwise_hinge": (pairwise_hinge_loss, dense_hinge),
    "listnet": (listnet_loss, one_softmax),
    "listmle": (listmle_loss, dense_listmle),
    "approx_ndcg": (approx_ndcg_loss, dense_approx_ndcg),
}


def inputs(shape: tuple[int, int], device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(*shape, generator=generator).to(device).requires_grad_()
    return scores, torch.randint(5, shape, generator=generator).float().to(device)


def run(loss: Loss, scores: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """One forward and backward pass: value and gradient."""
    value = loss(scores, relevance)
    return value.detach(), torch.autograd.grad(value, scores)[0]


def compare(name: str, shape: tuple[int, int], device: str) -> None:
    (value, grad), (want, want_grad) = (run(loss, *inputs(shape, device)) for loss in LOSSES[name])
    torch.testing.assert_close(value, want, rtol=1e-4, atol=0)
    torch.testing.assert_close(grad, want_grad, rtol=1e-3, atol=1e-4 * float(want_grad.abs().max()))


def seconds(loss: Loss, scores: Tensor, relevance: Tensor, times: int) -> float:
    """Of one run, as the mean of several."""
    start = time.perf_counter()
    for _ in range(times):
        run(loss, scores, relevance)
    if scores.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def race(
    ours: Loss, dense: Loss, scores: Tensor, relevance: Tensor, repeats: int
) -> list[tuple[float, float]]:
    """Seconds of ours and of the dense version in each round, both run until the slower one has run once."""
    first = [seconds(loss, scores, relevance, times=2) for loss in (ours, dense)]
    times = [max(1, min(50, round(max(first) / each))) for each in first]
    return [
        (seconds(ours, scores, relevance, times[0]), seconds(dense, scores, relevance, times[1]))
        for _ in range(repeats)
    ]


def peak_memory(
    name: str, side: int, shape: tuple[int, int], device: str, result: multiprocessing.Queue
) -> None:
    """In a fresh process: megabytes over the inputs at the highest point of a run, after a small one."""
    torch.set_num_threads(1)
    loss = LOSSES[name][side]
    run(loss, *inputs((2, 40), device))  # loads code, fills in constants
    scores, relevance = inputs(shape, device)
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(loss, scores, relevance)
        result.put((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here

    def kilobytes(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    before = kilobytes("VmRSS")
    run(loss, scores, relevance)
    result.put((kilobytes("VmHWM") - before) / 1024)


def megabytes(name: str, side: int, shape: tuple[int, int], device: str) -> float:
    if device == "cpu" and not sys.platform.startswith("linux"):
        return float("nan")
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = context.Process(target=peak_memory, args=(name, side, shape, device, result))
    process.start()
    value = result.get()
    process.join()
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="losses whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    on_gpu = options.device != "cpu"
    device = (
        torch.cuda.get_device_name()
        if on_gpu
        else f"{platform.processor() or 'cpu'}, {options.threads} thread(s)"
    )
    print(f"torch {torch.__version__}, {device}; forward + backward, float32\n")
    print("| loss | Q x L | ours ms | dense ms | times faster (low-high) | ours MB | dense MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, (ours, dense) in LOSSES.items():
        if options.only not in name:
            continue
        for shape in SHAPES:
            compare(name, shape, options.device)
            batch = inputs(shape, options.device)
            rounds = race(ours, dense, *batch, options.repeats)
            ratios = [theirs / mine for mine, theirs in rounds]
            mine, theirs = (statistics.median(side) * 1e3 for side in zip(*rounds))
            memory = [megabytes(name, side, shape, options.device) for side in (0, 1)]
            print(
                f"| {name} | {shape[0]} x {shape[1]} | {mine:.2f} | {theirs:.1f} "
                f"| {statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f}) "
                f"| {memory[0]:.1f} | {memory[1]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
