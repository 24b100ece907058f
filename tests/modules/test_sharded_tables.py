"""TorchRec's tables train as sparse ones do in one process, on one process and on two; checkpoints are the same."""

from __future__ import annotations

import importlib.util
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from lit_mlfund.modules.sharding import spread_tables
from lit_mlfund.optim import Combined, ShardedTables, SparseTables, adamw, parameter_groups
from lit_mlfund.optim.native import tensors
from tests.modules.test_tables import SPEC, TABLE, joint_batches, make_store

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchrec") is None, reason="torchrec is not installed"
)


class Module(nn.Module):
    """A model under the name that it has in a task module."""

    def __init__(self, tables: Any) -> None:
        from lit_mlfund.models import DLRM

        super().__init__()
        torch.manual_seed(0)
        self.model = DLRM(SPEC, embedding_dim=4, bottom=(8,), top=(8,), dropout=0.0)
        tables.prepare(self.model)
        spread_tables(self.model, torch.device("cpu"))
        beside = tables.optimizer(self)
        groups = parameter_groups(self, 1e-2, skip=tensors(beside.param_groups))
        self.optimizer = Combined([adamw(groups, lr=3e-3), beside])
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 / (step + 1))

    def train_on(self, batches: list[Any]) -> None:
        for x, y in batches:
            self.optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(self.model(x), y).backward()
            if dist.is_initialized():
                for parameter in self.parameters():
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= dist.get_world_size()
            self.optimizer.step()
            self.schedule.step()

    def state(self) -> dict[str, Tensor]:
        """Weights, and the sums of the table."""
        state = {name: value.detach().clone() for name, value in self.state_dict().items()}
        optimizer = self.optimizer.state_dict()
        return state | {"sum": optimizer["state"][optimizer["param_groups"][-1]["params"][0]]["sum"].clone()}


def check(rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size)
    module, batches = Module(ShardedTables(lr=0.1)), joint_batches(rank, world_size)
    assert TABLE not in dict(module.named_parameters())
    module.train_on(batches[:3])
    weights, optimizer = module.state_dict(), module.optimizer.state_dict()
    if rank == 0:
        torch.save((weights, optimizer), f"{folder}/middle.pt")
    dist.barrier()
    weights, optimizer = torch.load(f"{folder}/middle.pt", weights_only=True)
    module.train_on(batches[3:])
    resumed = Module(ShardedTables(lr=0.1))
    resumed.load_state_dict(weights)
    resumed.optimizer.load_state_dict(optimizer)
    resumed.schedule.load_state_dict({**resumed.schedule.state_dict(), "last_epoch": 3})
    resumed.train_on(batches[3:])
    whole, again = module.state(), resumed.state()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    uneven = make_store(2 * world_size + 1, 2).x  # one process has a row more
    with torch.inference_mode():
        scores = module.model.eval()({name: value[rank::world_size] for name, value in uneven.items()})
    torch.save((whole, scores), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("world_size", [1, 2])
def test_equal_to_sparse_tables_in_one_process(tmp_path: Path, world_size: int) -> None:
    multiprocessing.set_forkserver_preload(["torchrec", "lit_mlfund.modules", __name__])
    mp.start_processes(check, (world_size, str(tmp_path)), nprocs=world_size, start_method="forkserver")
    one = Module(SparseTables(lr=0.1))
    one.train_on(joint_batches())
    uneven = make_store(2 * world_size + 1, 2).x
    served = one.model.eval()(uneven)
    state = one.state()
    for rank in range(world_size):
        whole, scores = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(scores, served[rank::world_size].detach(), rtol=1e-3, atol=1e-5)
        assert whole.keys() == state.keys()
        for name, value in state.items():
            if rank == 0 or name not in (TABLE, "sum"):  # the first process has all rows
                torch.testing.assert_close(whole[name], value, rtol=1e-3, atol=1e-6)


def test_a_checkpoint_of_either_goes_on_as_the_other(tmp_path: Path) -> None:
    one = Module(SparseTables(lr=0.1))
    one.train_on(joint_batches()[:3])
    torch.save((one.state_dict(), one.optimizer.state_dict()), tmp_path / "sparse.pt")
    one.train_on(joint_batches()[3:])
    mp.start_processes(go_on, (str(tmp_path),), nprocs=1, start_method="forkserver")
    found = torch.load(tmp_path / "sharded.pt", weights_only=True)
    for name, value in one.state().items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-6)


def go_on(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    module = Module(ShardedTables(lr=0.1))
    weights, optimizer = torch.load(f"{folder}/sparse.pt", weights_only=True)
    module.load_state_dict(weights)
    module.optimizer.load_state_dict(optimizer)
    module.schedule.load_state_dict({**module.schedule.state_dict(), "last_epoch": 3})
    module.train_on(joint_batches()[3:])
    torch.save(module.state(), f"{folder}/sharded.pt")
