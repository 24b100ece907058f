"""Shards the rows of an embedding table over the processes, with TorchRec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

TABLE_NAME = "table"  # of the only table in TorchRec's collection


class ShardedTable(nn.Module):
    """Looks up rows `[..., d]` by ids `[...]`; process r of n holds the r-th block of the rows.

    Acts as a plain table until `distribute`. From then on a forward pass fetches rows from the processes that hold
    them, and the backward pass itself performs the row-wise Adagrad step on gradients averaged over the processes: no
    gradient remains to be clipped, and all processes must make the same number of calls. The rows are then no longer
    parameters of this module; its `state_dict` is still that of `nn.Embedding`, gathered in the first process and
    empty in the others.

    Args:
        weight: `[rows, d]`, identical in all processes.
        eps: of `RowwiseAdagrad`.
    """

    weight: nn.Parameter | None

    def __init__(self, weight: nn.Parameter, *, eps: float = 1e-8) -> None:
        super().__init__()
        self.weight = weight
        self.eps = eps
        self.num_embeddings, self.embedding_dim = weight.shape
        self.learning_rate: Callable[[], float] = lambda: 0.0  # set by the optimizer
        self._shards: list[
            Any
        ] = []  # TorchRec's module; in a list, to hide it from `parameters` and `state_dict`
        self._gloo: Any = None

    @property
    def distributed(self) -> bool:
        """Return whether the rows are sharded."""
        return bool(self._shards)

    def forward(self, ids: Tensor) -> Tensor:
        if not self.distributed:
            assert self.weight is not None
            return F.embedding(ids, self.weight)
        from torchrec import KeyedJaggedTensor

        (shards,) = self._shards
        for group in shards.fused_optimizer.param_groups:
            group["lr"] = self.learning_rate()
        shards.fused_optimizer.zero_grad()  # makes the new learning rate take effect
        # TorchRec's kernels do not run in inference mode
        with torch.inference_mode(False), torch.set_grad_enabled(torch.is_grad_enabled()):
            flat = ids.flatten().clone()
            # pass all ids as one example, so that batch sizes may differ between processes
            features = KeyedJaggedTensor(
                [TABLE_NAME], flat, lengths=torch.tensor([len(flat)], device=ids.device)
            )
            return shards(features)[TABLE_NAME].values().view(*ids.shape, -1)

    def distribute(self, device: torch.device) -> None:
        """Shard the rows over the processes of the default group, creating that group if there is none.

        Raises ValueError if TorchRec cannot be imported.
        """
        if self.distributed:
            return
        try:
            from fbgemm_gpu.split_embedding_configs import EmbOptimType
            from torchrec import EmbeddingCollection, EmbeddingConfig
            from torchrec.distributed.embedding import EmbeddingCollectionSharder
            from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
            from torchrec.distributed.types import ShardingEnv
        except (ImportError, OSError) as error:  # OSError: kernels built for another version of torch
            raise ValueError(f"cannot import torchrec and fbgemm-gpu: {error}") from error

        if not dist.is_initialized():
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        self._gloo = None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")
        config = EmbeddingConfig(
            name=TABLE_NAME,
            num_embeddings=self.num_embeddings,
            embedding_dim=self.embedding_dim,
            feature_names=[TABLE_NAME],
        )
        collection = EmbeddingCollection(tables=[config], device=torch.device("meta"))
        sharder = EmbeddingCollectionSharder(
            fused_params={"optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD, "eps": self.eps}
        )
        world_size = dist.get_world_size()
        plan = construct_module_sharding_plan(
            collection,
            {TABLE_NAME: row_wise(compute_kernel="fused")},
            sharder=sharder,
            local_size=torch.cuda.device_count() if device.type == "cuda" else world_size,
            world_size=world_size,
            device_type=device.type,
        )
        env = ShardingEnv.from_process_group(dist.group.WORLD)
        self._shards = [sharder.shard(collection, plan, env, device)]
        assert self.weight is not None
        self.load(self.weight_view(), self.weight.detach())
        self.weight = None

    def weight_view(self) -> Any:
        """Return TorchRec's sharded view of the weight `[rows, d]`."""
        return self._shards[0].state_dict()[f"embeddings.{TABLE_NAME}.weight"]

    def accumulator_view(self) -> Any:
        """Return TorchRec's sharded view of the row-wise Adagrad sums `[rows]`."""
        state = self._shards[0].fused_optimizer.state_dict()["state"]
        return state[f"embeddings.{TABLE_NAME}.weight"][f"{TABLE_NAME}.momentum1"]

    @torch.no_grad()
    def load(self, view: Any, full: Tensor) -> None:
        """Copy this process's rows of `full` into a sharded view."""
        for shard in view.local_shards():
            first = shard.metadata.shard_offsets[0]
            shard.tensor.copy_(full[first : first + len(shard.tensor)])

    @torch.no_grad()
    def gather(self, view: Any) -> Tensor:
        """Return all rows of a sharded view on the CPU of the first process, and no rows in the others."""
        local = [shard.tensor.detach().cpu() for shard in view.local_shards()]
        size = -(
            -self.num_embeddings // dist.get_world_size()
        )  # rows of a block; the last ones may be shorter
        block = torch.zeros(size, *view.metadata().size[1:])
        for rows in local:
            block[: len(rows)] = rows
        blocks = (
            [torch.empty_like(block) for _ in range(dist.get_world_size())] if dist.get_rank() == 0 else None
        )
        dist.gather(block, blocks, group=self._gloo)
        return block[:0] if blocks is None else torch.cat(blocks)[: self.num_embeddings]

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if self.distributed:
            destination[f"{prefix}weight"] = self.gather(self.weight_view())
        else:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        if self.distributed:
            self.load(self.weight_view(), state_dict[f"{prefix}weight"])
        else:
            super()._load_from_state_dict(state_dict, prefix, *rest)
