"""Groups batches into tuples, for a training step that takes several of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic

from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.store import BatchT


class Chunks(Generic[BatchT]):
    """Yields the batches of `loader` in tuples of `size`, the last one shorter; its state is the loader's own."""

    def __init__(self, loader: BatchLoader[BatchT], size: int):
        self.loader = loader
        self.size = size
        self.batch_sampler = loader.batch_sampler  # Lightning sets the epoch through it

    def __len__(self) -> int:
        return -(-len(self.loader) // self.size)

    def __iter__(self) -> Iterator[tuple[BatchT, ...]]:
        chunk: list[BatchT] = []
        for batch in self.loader:
            chunk.append(batch)
            if len(chunk) == self.size:
                yield tuple(chunk)
                chunk = []
        if chunk:
            yield tuple(chunk)

    def state_dict(self) -> dict[str, int]:
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.loader.load_state_dict(state)
