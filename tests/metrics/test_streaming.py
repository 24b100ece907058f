"""Streaming metrics against their functions, on one process and on two."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from lit_mlfund import metrics
from lit_mlfund.metrics import MRR, NDCG, AveragePrecision, CalibrationError, PrecisionAtK, RecallAtK

RANKING = {
    "ndcg": (NDCG(k=5), lambda *lists: metrics.ndcg(*lists, k=5)),
    "ndcg linear": (NDCG(gain="linear"), lambda *lists: metrics.ndcg(*lists, gain="linear")),
    "mrr": (MRR(), metrics.mrr),
    "recall": (RecallAtK(3), lambda *lists: metrics.recall_at_k(*lists, k=3)),
    "precision": (PrecisionAtK(k=3), lambda *lists: metrics.precision_at_k(*lists, k=3)),
    "map": (AveragePrecision(), metrics.average_precision),
}


def lists(num_queries: int = 50) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(6, (num_queries, 12), generator=generator).float()
    relevance = torch.randint(4, (num_queries, 12), generator=generator)
    relevance[::9] = 0
    return scores, relevance, torch.arange(12) < torch.randint(1, 13, (num_queries, 1), generator=generator)


def rows(num_rows: int = 300) -> tuple[Tensor, Tensor]:
    probability = torch.rand(num_rows, generator=torch.Generator().manual_seed(1))
    return probability, torch.bernoulli(probability, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", RANKING)
def test_batches_equal_the_whole(name):
    metric, function = RANKING[name]
    scores, relevance, mask = lists()
    for start, stop in ((0, 1), (1, 1), (1, 30), (30, 50)):
        width = int(mask[start:stop].sum(1).max()) if stop > start else 0  # batches are padded differently
        metric.update(*(part[start:stop, :width] for part in (scores, relevance, mask)))
    want = function(scores, relevance, mask)
    assert metric.compute().item() == pytest.approx(want.nanmean().item(), rel=1e-6)
    assert metric.skipped_queries == int(want.isnan().sum()) > 0
    step = metric(scores[:5], relevance[:5])  # forward: the value of this batch alone
    assert step.item() == pytest.approx(function(scores[:5], relevance[:5]).nanmean().item(), rel=1e-6)
    pickle.loads(pickle.dumps(metric))
    metric.reset()


def test_nothing_scored_is_nan():
    metric = NDCG()
    metric.update(torch.zeros(3, 4), torch.zeros(3, 4))
    assert math.isnan(metric.compute()) and metric.skipped_queries == 3


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("binning", ["width", "mass"])
def test_calibration_error(binning):
    probability, target = rows()
    metric = CalibrationError(num_bins=10, binning=binning)
    for start, stop in ((0, 7), (7, 7), (7, 300)):
        metric.update(probability[start:stop], target[start:stop])
    want = metrics.calibration_error(probability, target, 10, binning).item()
    assert metric.compute().item() == pytest.approx(want, rel=1e-6)
    metric.reset()
    assert math.isnan(metric.compute())
    table = torch.randn(40, 3, generator=torch.Generator().manual_seed(3)).softmax(1)
    metric.update(table, torch.arange(40) % 3)
    want = metrics.calibration_error(table, torch.arange(40) % 3, 10, binning).item()
    assert metric.compute().item() == pytest.approx(want, rel=1e-6)
    with pytest.raises(ValueError, match="target must be 0 or 1"):
        metric.update(probability, target + 1)


def test_bad_input():
    with pytest.raises(ValueError, match="k must be"):
        NDCG(k=0)
    with pytest.raises(ValueError, match="binning must be"):
        CalibrationError(binning="size")
    with pytest.raises(ValueError, match="relevance must have the shape"):
        MRR().update(torch.zeros(2, 3), torch.zeros(2, 4))


def on_one_of_two(rank: int, folder: Path) -> None:
    """33 queries on process 0 and 17 on process 1; all rows on process 0."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mine = slice(0, 33) if rank == 0 else slice(33, 50)
    result = {}
    for name, (metric, _) in RANKING.items():
        metric.update(*(part[mine] for part in lists()))
        result[name] = (metric.compute().item(), metric.skipped_queries)
    for name, share in (("even", slice(rank, None, 2)), ("uneven", slice(0, 300 * (1 - rank)))):
        for binning in ("width", "mass"):
            metric = CalibrationError(10, binning)
            metric.update(*(part[share] for part in rows()))
            result[f"{name} {binning}"] = (metric.compute().item(), 0)
    torch.save(result, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    mp.spawn(on_one_of_two, (tmp_path,), nprocs=2)
    want = {}
    for name, (_, function) in RANKING.items():
        value = function(*lists())
        want[name] = (value.nanmean().item(), int(value.isnan().sum()))
    for name in ("even", "uneven"):
        for binning in ("width", "mass"):
            want[f"{name} {binning}"] = (metrics.calibration_error(*rows(), 10, binning).item(), 0)
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt")
        assert result.keys() == want.keys()
        for name, pair in want.items():
            assert result[name] == pytest.approx(pair, rel=1e-6), name
