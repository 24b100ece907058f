"""Shards a model over processes where Lightning has no ready strategy."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy

from lit_mlfund.callbacks.checkpoint_file import require_whole


class ShardedStrategy(ModelParallelStrategy):
    """Runs FSDP2 over all processes, on GPUs and CPUs; `TaskModule.configure_model` decides what is sharded.

    Lightning's own default shards over machines only, and leaves the processes of one machine to tensor
    parallelism, which none of our models implements: each process would train its own model. A checkpoint is one
    file, gathered when it is written.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        # warned for the output of any linear layer on [B, T, D]; nothing here modifies it in place
        warnings.filterwarnings("ignore", ".*FSDP2-wrapped module .* returned a view tensor.*")
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Load a checkpoint shard by shard; raise ConfigError where the file is not as it was written."""
        require_whole(
            checkpoint_path
        )  # Lightning reads the file here itself, without the plugin for checkpoints
        return super().load_checkpoint(checkpoint_path, *arguments, **options)
