"""Several gloo processes equal one on the joint batch, in value and in gradient averaged over ranks."""

import itertools
import multiprocessing
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lit_mlfund.losses.contrastive import InfoNCELoss, NCELoss
from lit_mlfund.losses.gather import gather_rows

SIZES = {2: ([8, 8], [11, 5], [16, 0]), 4: ([4, 4, 4, 4], [7, 1, 0, 8])}
NEGATIVES = {2: [5, 2], 4: [0, 3, 1, 3]}
ARGUMENTS = ("item_id", "negatives", "log_q", "weight", "negative_id", "negative_log_q")
OPTIONS = [{"symmetric": s, "chunk_size": c} for s, c in ((False, None), (True, None), (False, 3), (True, 3))]
CASES = [
    *itertools.product([ARGUMENTS], OPTIONS),
    *itertools.product([(), ("item_id", "log_q"), ("weight", "negatives")], OPTIONS[-1:]),
]


class Towers(nn.Module):
    def __init__(self, loss_class, options):
        super().__init__()
        self.query, self.item = nn.Linear(6, 4), nn.Linear(5, 4)
        self.loss = loss_class(temperature=0.2, learnable_temperature=True, **options)

    def forward(self, batch):
        query, item, rest = self.query(batch["query"]), self.item(batch["item"]), batch["rest"]
        if "negatives" in rest:
            rest = rest | {"negatives": self.item(rest["negatives"])}
        return self.loss(query, item, **rest)


def make_model(loss_class, options):
    torch.manual_seed(0)
    return Towers(loss_class, options).double()


def make_batch(names, rows=slice(None), extra=slice(None)):
    """The joint batch of 16 pairs and 7 negatives, or one rank's part of it."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    joint = {"query": normal(16, 6)[rows], "item": normal(16, 5)[rows]}
    rest = {
        "item_id": torch.randint(9, (16,), generator=generator)[rows],
        "negatives": normal(7, 5)[extra],
        "log_q": normal(16)[rows],
        "weight": normal(16).square()[rows],
        "negative_id": torch.randint(9, (7,), generator=generator)[extra],
        "negative_log_q": normal(7)[extra],
    }
    return joint | {"rest": {name: rest[name] for name in names}}


def part(sizes, rank):
    start = sum(sizes[:rank])
    return slice(start, start + sizes[rank])


def check_rank(rank, world, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        check_equals_one_process(rank, world)
        check_eval_mode_and_gather_off_stay_local(rank, world)
        check_disagreement_raises(rank)
        check_gather_rows(rank, world)
    finally:
        dist.destroy_process_group()


def check_equals_one_process(rank, world):
    negatives = part(NEGATIVES[world], rank)
    for loss_class, (names, options) in itertools.product((InfoNCELoss, NCELoss), CASES):
        reference = make_model(loss_class, options | {"gather": False})
        expected = reference(make_batch(names))
        expected.backward()
        model = DistributedDataParallel(make_model(loss_class, options))
        for sizes in SIZES[world]:
            model.zero_grad()
            loss = model(make_batch(names, part(sizes, rank), negatives))
            loss.backward()
            found = [loss.detach(), *(parameter.grad for parameter in model.parameters())]
            exact = [expected.detach(), *(parameter.grad for parameter in reference.parameters())]
            case = f"{loss_class.__name__} {names} {options} {sizes}: "
            torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-12, msg=case.__add__)


def check_eval_mode_and_gather_off_stay_local(rank, world):
    batch = make_batch(("item_id",), part(SIZES[world][1], rank))
    alone = make_model(InfoNCELoss, {"gather": False})(batch)
    if rank == 0:  # a collective would wait for the others for ever
        assert torch.equal(make_model(InfoNCELoss, {}).eval()(batch), alone)


def check_disagreement_raises(rank):
    batch = make_batch(("item_id",) if rank == 0 else ())
    with pytest.raises(ValueError, match=r"gather: every rank must pass .* the same optional arguments"):
        make_model(InfoNCELoss, {})(batch)


def check_gather_rows(rank, world):
    rows = torch.full((rank, 2), float(rank), requires_grad=True)
    joint = gather_rows(rows, list(range(world)))
    assert joint[:, 0].tolist() == [r for r in range(world) for _ in range(r)]
    (joint.sum() * (rank + 1)).backward()
    assert torch.equal(rows.grad, torch.full((rank, 2), sum(range(1, world + 1)) * 1.0))


@pytest.mark.parametrize("world", [2, 4])
def test_several_processes_equal_one(world):
    # torch is imported once, in a server that the ranks are forked from
    multiprocessing.set_forkserver_preload(["torch.nn.parallel", "lit_mlfund.losses", "pytest"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(check_rank, (world, port), nprocs=world, start_method="forkserver")
