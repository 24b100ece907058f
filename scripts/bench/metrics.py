"""Speed and peak memory of our metrics as ratios to torchmetrics and scikit-learn, from interleaved runs.

    python scripts/bench/metrics.py [--device cuda] [--repeats 5] [--threads 1] [--only ragged]

Both sides get the same numbers in the form that they like: ours padded lists, torchmetrics flat ones with
query numbers. A ratio is the median over rounds in which the two run one after the other. Memory is the peak
over the inputs: of the allocator on a GPU, of the resident set of a fresh process (Linux) on a CPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error
from torchmetrics.retrieval import RetrievalMRR, RetrievalNormalizedDCG, RetrievalRecall

from lit_mlfund.metrics import calibration_error, embedding_ranks, evaluate_binary, mrr, ndcg, recall_at_k

Runs = tuple[Callable[[], object], Callable[[], object]]


def lists(num_queries: int, low: int, high: int, device: str) -> Runs:
    """NDCG@10, MRR and recall@10 of lists of `low` to `high` documents: ours, torchmetrics."""
    generator = torch.Generator().manual_seed(0)
    length = torch.randint(low, high + 1, (num_queries, 1), generator=generator)
    scores = torch.rand(num_queries, high, generator=generator).to(device)
    grades = torch.randint(5, (num_queries, high), generator=generator).to(device)
    mask = None if low == high else (torch.arange(high) < length).to(device)
    real = slice(None) if mask is None else mask
    query = torch.arange(num_queries, device=device)[:, None].expand(-1, high)[real].flatten()
    flat, flat_grades = scores[real].flatten(), grades[real].flatten()

    def ours() -> object:
        values = (
            ndcg(scores, grades, mask, 10),
            mrr(scores, grades, mask),
            recall_at_k(scores, grades, mask, 10),
        )
        return [value.nanmean().item() for value in values]

    def theirs() -> object:
        result = []
        for metric, target in (
            (RetrievalNormalizedDCG(top_k=10), flat_grades),
            (RetrievalMRR(), flat_grades > 0),
            (RetrievalRecall(top_k=10), flat_grades > 0),
        ):
            metric.to(device).update(flat, target, indexes=query)
            result.append(metric.compute().item())
        return result

    return ours, theirs


def calibration(device: str) -> Runs:
    """Calibration error of a million rows: ours, torchmetrics."""
    probability = torch.rand(1_000_000, generator=torch.Generator().manual_seed(0)).to(device)
    target = (probability > 0.5).long()
    return (
        lambda: calibration_error(probability, target).item(),
        lambda: binary_calibration_error(probability, target, n_bins=15).item(),
    )


def intervals(device: str) -> Runs:
    """All seven binary metrics of 80,000 rows on 20 resamples; torchmetrics' AUROC alone of 20 resamples."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(80_000, generator=generator).to(device)
    target = (torch.rand(80_000, generator=generator).to(device) < logits.sigmoid()).long()

    def theirs() -> object:
        for _ in range(20):
            rows = torch.randint(80_000, (80_000,), device=device)
            value = binary_auroc(logits[rows], target[rows]).item()
        return value

    return lambda: evaluate_binary(logits, target).intervals(20)["auroc"], theirs


def retrieval(device: str) -> Runs:
    """Recall@10 of 5,000 queries among 20,000 items of 64 numbers: ours, topk of the whole matrix."""
    generator = torch.Generator().manual_seed(0)
    query, item = (torch.randn(n, 64, generator=generator).to(device) for n in (5_000, 20_000))
    positive = torch.randint(20_000, (5_000,), generator=generator)

    def whole() -> object:
        top = (query @ item.T).topk(10).indices
        return (top == positive.to(device)[:, None]).any(1).double().mean().item()

    return lambda: embedding_ranks(query, item, positive).recall(10).mean().item(), whole


CASES: dict[str, tuple[str, Callable[[str], Runs]]] = {
    "lists": ("10,000 x 100, NDCG@10 + MRR + recall@10, torchmetrics", lambda d: lists(10_000, 100, 100, d)),
    "ragged": ("10,000 x 1-199, the same, torchmetrics", lambda d: lists(10_000, 1, 199, d)),
    "long": ("200 x 5,000, the same, torchmetrics", lambda d: lists(200, 5_000, 5_000, d)),
    "calibration": ("1,000,000 rows, calibration error, torchmetrics", calibration),
    "intervals": ("80,000 rows, 20 resamples: 7 metrics, torchmetrics AUROC alone", intervals),
    "retrieval": ("5,000 x 20,000, recall@10, topk of the whole matrix", retrieval),
}


def peak_memory(case: str, side: int, device: str, result: multiprocessing.Queue) -> None:
    """In a fresh process: megabytes over the inputs at the highest point of one run."""
    run = CASES[case][1](device)[side]
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        result.put((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here

    def kilobytes(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    before = kilobytes("VmRSS")
    run()
    result.put((kilobytes("VmHWM") - before) / 1024)


def megabytes(case: str, side: int, device: str) -> float:
    if device == "cpu" and not sys.platform.startswith("linux"):
        return float("nan")
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = context.Process(target=peak_memory, args=(case, side, device, result))
    process.start()
    value = result.get()
    process.join()
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=CASES, action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    name = torch.cuda.get_device_name() if arguments.device != "cpu" else platform.processor() or "cpu"
    print(f"{name}, torch {torch.__version__}, {arguments.threads} thread(s), {arguments.repeats} rounds")
    print(f"{'case':<12}{'ours ms':>10}{'other ms':>10}{'ratio':>8}{'ours MB':>9}{'other MB':>10}  against")
    for case in arguments.only or CASES:
        text, make = CASES[case]
        runs = make(arguments.device)
        seconds: list[list[float]] = [[], []]
        for _ in range(arguments.repeats + 1):
            for side, run in enumerate(runs):
                start = time.perf_counter()
                run()  # ends with .item(): nothing is left running on the device
                seconds[side].append(time.perf_counter() - start)
        ours, other = (part[1:] for part in seconds)  # the first round warms up
        ratio = statistics.median(theirs / mine for mine, theirs in zip(ours, other))
        memory = [megabytes(case, side, arguments.device) for side in range(2)]
        print(
            f"{case:<12}{1e3 * statistics.median(ours):>10.1f}{1e3 * statistics.median(other):>10.1f}"
            f"{ratio:>8.1f}{memory[0]:>9.0f}{memory[1]:>10.0f}  {text}",
            flush=True,
        )


if __name__ == "__main__":
    main()
