"""Finds the operation that makes the first value that is not finite, by running it again under observation."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

# values that are put in on purpose, such as -inf where a softmax must not look, and memory without content yet
DELIBERATE = {"full", "full_like", "new_full", "fill", "fill_", "masked_fill", "masked_fill_", "where"}
DELIBERATE |= {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "resize_", "set_"}
LOGARITHMS = {"log", "log2", "log10", "xlogy", "logit"}
ROOTS = {"sqrt", "rsqrt", "pow"}
QUOTIENTS = {"div", "reciprocal", "true_divide", "fmod", "remainder"}


@dataclass(frozen=True)
class Origin:
    """Describes the operation that made a value that is not finite from values that all are.

    phase       forward or backward
    operation   its name, such as `log`; in the backward pass that of the operation of the forward pass
    layer       the module in which it was called
    zero        whether it took the logarithm or root of zero, or divided by zero
    negative    whether it took the logarithm or root of a negative number
    overflow    whether its result is too large for its type
    positions   where its result is not finite, along the first dimension
    shape       of its result
    """

    phase: str
    operation: str
    layer: str
    zero: bool
    negative: bool
    overflow: bool
    positions: list[int] = field(default_factory=list)
    shape: tuple[int, ...] = ()


def first_nonfinite(loss: Callable[[], Tensor], module: nn.Module) -> Origin | None:
    """Compute a loss and its gradient, and return where the first value that is not finite comes from.

    A value that is not finite but reaches neither loss nor gradient is no origin, such as the -inf of a mask.

    Args:
        loss: computes the scalar loss; its gradient is taken here and left in the parameters.
        module: names the layers; modules outside it belong to the layer that calls them.

    Returns:
        The origin, or None if the loss and all gradients are finite or the inputs of the loss are not.
    """
    observer = _Observer(module)
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.callback(register_module_forward_pre_hook(observer.enter).remove)
        stack.callback(register_module_forward_hook(observer.leave, always_call=True).remove)
        with observer:
            value = loss()
        if not bool(torch.isfinite(value)):
            return observer.origin_of(value)
        observer.backward()
        for parameter in module.parameters():
            parameter.grad = None
        with observer:
            value.backward()
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        bad = [gradient for gradient in gradients if _is_bad(gradient)]
        return observer.origin_of(*bad) if bad else None


class _Observer(TorchDispatchMode):
    """Looks at the arguments and the result of every operation, and remembers where bad values come from."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.names = {id(part): name for name, part in module.named_modules()}
        self.stack = [""]
        self.phase = "forward"
        self.entered: list[tuple[int, str]] = [(0, "")]  # sequence number of autograd -> layer from there on
        self.origins: list[Origin] = []
        self.origin: dict[int, int | None] = {}  # of a bad tensor; None where it was put in on purpose
        self.kept: list[Tensor] = []  # as ids of tensors that are gone are used again

    def enter(self, module: nn.Module, *_: Any) -> None:
        self.stack.append(self.names.get(id(module)) or self.stack[-1])
        self._mark()

    def leave(self, *_: Any) -> None:
        self.stack.pop()
        self._mark()

    def _mark(self) -> None:
        self.entered.append((_sequence_number(), self.stack[-1]))

    def backward(self) -> None:
        self.phase = "backward"
        self.origins, self.origin = [], {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [tensor for tensor in _tensors([args, kwargs]) if _is_bad(tensor)]
        copies = [tensor.detach().clone() if _is_plain(tensor) else tensor for tensor in _tensors(args)]
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            if _is_bad(tensor):
                self._remember(tensor, func, given, args, copies)
        return result

    def _remember(
        self, tensor: Tensor, func: Any, given: list[Tensor], args: Any, copies: list[Tensor]
    ) -> None:
        name = str(func.overloadpacket).rpartition(".")[2]
        source: int | None = None
        known = [self.origin[id(part)] for part in given if id(part) in self.origin]
        if known:
            source = next((number for number in known if number is not None), None)
        elif not given and name not in DELIBERATE:
            self.origins.append(self._describe(tensor, name.rstrip("_"), args, copies))
            source = len(self.origins) - 1
        self.kept.append(tensor)
        self.origin[id(tensor)] = source

    def _describe(self, tensor: Tensor, name: str, args: Any, copies: list[Tensor]) -> Origin:
        layer, operation = self.stack[-1], name
        if self.phase == "backward":
            node = torch._C._current_autograd_node()
            if node is not None:
                operation = re.sub(r"Backward\d*$", "", node.name()).lower()
                number = bisect.bisect_right([at for at, _ in self.entered], node._sequence_nr()) - 1
                layer = self.entered[max(number, 0)][1]
        bad = ~torch.isfinite(tensor)
        decisive = _decisive(name, args, copies)
        zero = negative = False
        if decisive is not None:
            there = decisive.expand_as(bad)[bad] if _expands(decisive, bad) else decisive
            zero = bool((there == 0).any())
            negative = name not in QUOTIENTS and bool((there < 0).any()) and bool(tensor.isnan().any())
        flat = bad.flatten(1).any(1) if tensor.ndim > 1 else bad.reshape(-1)
        return Origin(
            self.phase, operation, layer, zero, negative,
            overflow=not zero and not negative and bool(torch.isinf(tensor).any()),
            positions=flat.nonzero().flatten().tolist(), shape=tuple(tensor.shape),
        )  # fmt: skip

    def origin_of(self, *values: Tensor) -> Origin | None:
        """Return the origin of the first of `values` that has one; the first of all where none is known."""
        numbers = [self.origin.get(id(value)) for value in values]
        known = [number for number in numbers if number is not None]
        if known:
            return self.origins[min(known)]
        return self.origins[0] if self.origins else None


def _decisive(name: str, args: Any, copies: list[Tensor]) -> Tensor | None:
    """Return the argument at which an operation is undefined: the divisor, or what a log or root is taken of."""
    if name in QUOTIENTS - {"reciprocal"}:
        return copies[-1] if isinstance(args[1], Tensor) else torch.tensor(float(args[1]))
    if name in LOGARITHMS | ROOTS | QUOTIENTS and copies:
        return copies[-1 if name == "xlogy" else 0]
    return None


def _expands(small: Tensor, large: Tensor) -> bool:
    try:
        return torch.broadcast_shapes(small.shape, large.shape) == large.shape
    except RuntimeError:
        return False


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_meta


def _is_bad(tensor: Tensor) -> bool:
    """Return whether a tensor of numbers has one that is not finite."""
    if not tensor.is_floating_point() or not tensor.numel():
        return False
    values = tensor if _is_plain(tensor) else tensor.coalesce().values() if tensor.is_sparse else None
    return values is not None and not bool(torch.isfinite(values).all())


def _sequence_number() -> int:
    """Return the number that autograd will give to the next operation of the forward pass."""
    return int(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
