"""Tallies the operations of a step: bytes alive, FLOPs, bytes read and written, and what collectives carry."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode

from lit_mlfund.runs.planning.costs import Kernel, Traffic, Work

_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
# By name: collective, and the argument with the whole of what it carries (of a gather, that is the output).
_COLLECTIVES = {
    "_allgather_base_": ("all_gather", 0),
    "_reduce_scatter_base_": ("reduce_scatter", 1),
    "allreduce_": ("all_reduce", 0),
    "broadcast_": ("broadcast", 0),
    "alltoall_base_": ("all_to_all", 0),
}
_GROUP = {
    "_allgather_base_": 2,
    "_reduce_scatter_base_": 2,
    "allreduce_": 1,
    "broadcast_": 1,
    "alltoall_base_": 2,
}


class Tally(TorchDispatchMode):
    """Follows every storage that is allocated within it, real or fake, from its first tensor to its end.

    alive    bytes of all storages that exist
    peak     the largest `alive` since `forget_peak`
    at_peak  the phase (`during`) in which it was reached
    scalar   what a fake tensor is said to hold where code asks for its number; None: that is an error
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self.during = self.at_peak = ""
        self.scalar: float | None = None
        self._kernels: Counter[Kernel] = Counter()
        self._carried: dict[tuple[str, int], tuple[int, int]] = {}
        self._sizes: dict[int, int] = {}
        self._ends: dict[int, weakref.ref[Any]] = {}

    def forget_peak(self) -> None:
        """Let the peak begin anew with what exists."""
        self.peak, self.at_peak = self.alive, self.during

    def take(self) -> Work:
        """Return the kernels and the traffic since the last call."""
        work = Work(self._kernels, tuple(Traffic(*key, *sums) for key, sums in self._carried.items()))
        self._kernels, self._carried = Counter(), {}
        return work

    def add(self, values: Any) -> None:
        """Follow tensors that were made elsewhere, too."""
        for tensor in local_tensors(values):
            self._follow(tensor.untyped_storage())

    def __enter__(self) -> Self:
        self._resize = resize = torch.UntypedStorage.resize_

        def follow(storage: torch.UntypedStorage, size: int) -> torch.UntypedStorage:
            resize(storage, size)
            self._follow(storage)
            return storage

        torch.UntypedStorage.resize_ = follow  # type: ignore[assignment,method-assign] # FSDP frees by it
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *error: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        super().__exit__(*error)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if self.scalar is not None and func is torch.ops.aten._local_scalar_dense.default:
            return self.scalar
        out = func(*args, **(kwargs or {}))
        made = list(local_tensors(out))
        self.add(made)
        if "c10d" in func.namespace:
            self._count_collective(func, args)
        elif not (func.is_view or func.namespace in ("prim", "profiler")):
            self._count_kernel(func, args, kwargs or {}, out, made)
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key not in self._ends:
            self._ends[key] = weakref.ref(storage, lambda _, key=key: self._end(key))  # type: ignore[misc]
        known = self._sizes.get(key, 0)
        if size != known:
            self._sizes[key] = size
            self._grow(size - known)

    def _end(self, key: int) -> None:
        self.alive -= self._sizes.pop(key, 0)
        self._ends.pop(key, None)

    def _grow(self, size: int) -> None:
        self.alive += size
        if self.alive > self.peak:
            self.peak, self.at_peak = self.alive, self.during

    def _count_kernel(
        self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any, made: list[Tensor]
    ) -> None:
        if func.overloadpacket.__name__.startswith(("empty", "new_empty")):
            return
        touched = {id(tensor): tensor for tensor in (*made, *local_tensors([*args, *kwargs.values()]))}
        size = sum(tensor.numel() * tensor.element_size() for tensor in touched.values())
        formula = _formulas().get(func.overloadpacket)
        flops = int(formula(*args, **kwargs, out_val=out)) if formula is not None else 0
        bits = max((t.element_size() * 8 for t in touched.values() if t.is_floating_point()), default=32)
        self._kernels[Kernel(flops, size, bits)] += 1

    def _count_collective(self, func: Any, args: Sequence[Any]) -> None:
        name = func.overloadpacket.__name__
        if name in _COLLECTIVES:
            collective, whole = _COLLECTIVES[name]
            size = sum(tensor.numel() * tensor.element_size() for tensor in local_tensors(args[whole]))
            group = dist.ProcessGroup.unbox(args[_GROUP[name]]).size()
            calls, total = self._carried.get((collective, group), (0, 0))
            self._carried[collective, group] = calls + 1, total + size


def local_tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a value at any depth; of a sharded one, the part of this process."""
    if isinstance(value, Tensor):
        yield value.to_local() if hasattr(value, "to_local") else value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from local_tensors(part)
    elif isinstance(value, dict):
        yield from local_tensors(list(value.values()))


def local_bytes(value: Any) -> int:
    """Return the bytes of the storages of all tensors in a value, on this process."""
    storages = {id(storage): storage for storage in (t.untyped_storage() for t in local_tensors(value))}
    return sum(storage.nbytes() for storage in storages.values())


def _formulas() -> dict[Any, Callable[..., int]]:
    """Return torch's formulas of FLOPs, and those of the attention that it lacks: the one for a CPU."""
    if _ATTENTION not in flop_counter.flop_registry:

        @flop_counter.register_flop_formula(_ATTENTION)
        def attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
            return int(flop_counter.sdpa_flop_count(query, key, value))

        @flop_counter.register_flop_formula(_ATTENTION_BACKWARD)
        def backward(gradient: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
            return int(flop_counter.sdpa_backward_flop_count(gradient, query, key, value))

    return flop_counter.flop_registry
