"""Checks the arguments of the losses.

Shapes, dtypes and options are always checked. Values (a class out of range, a relevance below zero) are checked on
CPU tensors only: on a GPU, reading them would cost a synchronisation at every step.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class PaddedLists(NamedTuple):
    """Holds checked ranking arguments: `[Q, L]` with L >= 1, zeros on padding, float32 or float64.

    `num_documents_Q` counts the real documents of a query; `has_pair_Q` is True where two of them differ in
    relevance: without such a pair there is nothing to learn.
    """

    scores_QL: Tensor
    relevance_QL: Tensor
    mask_QL: Tensor
    is_padded: bool
    num_documents_Q: Tensor
    has_pair_Q: Tensor

    def fill_padding(self, values_QL: Tensor, value: float) -> Tensor:
        """Return `values_QL` with `value` on padding."""
        return values_QL.masked_fill(~self.mask_QL, value) if self.is_padded else values_QL


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a finite number above zero."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a finite number above 0, got {value!r}")


def check_between(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError unless `low < value < high`."""
    if not low < value < high:
        raise ValueError(f"{name}: expected a number between {low:g} and {high:g}, got {value!r}")


def check_label_smoothing(value: float) -> None:
    """Raise ValueError unless `0 <= value < 1`."""
    if not 0 <= value < 1:
        raise ValueError(f"label_smoothing: expected a number in [0, 1), got {value!r}")


def check_cutoff(k: int | None) -> None:
    """Raise ValueError unless `k` is an integer above zero or None."""
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ValueError(f"k: expected a whole number above 0 or None, got {k!r}")


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """Return float32 for half precision, else the dtype of the tensor."""
    return torch.promote_types(tensor.dtype, torch.float32)


def check_output(name: str, output: Tensor, num_dims: tuple[int, ...]) -> Tensor:
    """Return a model's output in its compute dtype; it must be floating and have one of `num_dims` dimensions."""
    if not output.is_floating_point():
        raise ValueError(f"{name}: expected a floating dtype, got {output.dtype}")
    if output.ndim not in num_dims:
        expected = " or ".join({1: "[B]", 2: "[B, K]"}[n] for n in num_dims)
        raise ValueError(f"{name}: expected shape {expected}, got {list(output.shape)}")
    return output.to(compute_dtype(output))


def check_real_target(
    name: str, output_B: Tensor, target_B: Tensor, low: float = -math.inf, high: float = math.inf
) -> Tensor:
    """Return `target` in the dtype of `output`; it must have the same shape and values in [low, high]."""
    if target_B.shape != output_B.shape:
        raise ValueError(
            f"target: expected shape {list(output_B.shape)} like {name}, got {list(target_B.shape)}"
        )
    if target_B.is_complex():
        raise ValueError(f"target: expected real numbers, got {target_B.dtype}")
    if (low, high) != (-math.inf, math.inf):
        check_range("target", target_B, low, high)
    return target_B.to(output_B.dtype)


def check_classes(logits_BK: Tensor, target_B: Tensor) -> Tensor:
    """Return `target` as int64; it must hold one of K >= 2 classes for each row of `logits`."""
    num_rows, num_classes = logits_BK.shape
    if num_classes < 2:
        raise ValueError(f"logits: expected at least 2 classes, got shape {list(logits_BK.shape)}")
    if target_B.shape != (num_rows,):
        raise ValueError(
            f"target: expected shape [{num_rows}], one class per row of logits, got {list(target_B.shape)}"
        )
    if target_B.is_floating_point() or target_B.is_complex() or target_B.dtype == torch.bool:
        raise ValueError(f"target: expected integer classes, got {target_B.dtype}")
    check_range("target", target_B, 0, num_classes - 1)
    return target_B.long()


def check_class_weight(class_weight: Tensor | None, logits_BK: Tensor) -> Tensor | None:
    """Return `class_weight` in the dtype of `logits`; it must have one value per class."""
    if class_weight is None:
        return None
    if class_weight.shape != (logits_BK.shape[1],):
        raise ValueError(
            f"class_weight: expected shape [{logits_BK.shape[1]}], one per class, "
            f"got {list(class_weight.shape)}"
        )
    return class_weight.to(logits_BK)


def class_weight_tensor(values: list[float] | None) -> Tensor | None:
    """Return configured class weights as a tensor; none may be below zero."""
    if values is None:
        return None
    tensor = torch.tensor([float(value) for value in values])
    check_range("class_weight", tensor, 0.0, math.inf)
    return tensor


def check_range(name: str, tensor: Tensor, low: float, high: float) -> None:
    """Raise ValueError if a CPU tensor has a NaN, an infinity or a value outside [low, high].

    Tensors on other devices are not read, and torch's fake tensors have nothing to read.
    """
    if tensor.device.type != "cpu" or tensor.numel() == 0 or hasattr(tensor, "fake_mode"):
        return
    smallest, largest = (value.item() for value in tensor.aminmax())
    if not (low <= smallest and largest <= high and largest < math.inf):
        wrong = smallest if not low <= smallest else largest
        expected = f"in [{low:g}, {high:g}]" if high < math.inf else f"of at least {low:g} and finite"
        raise ValueError(f"{name}: expected values {expected}, got {wrong:g}")


def check_lists(scores: Tensor, relevance: Tensor, mask: Tensor | None) -> PaddedLists:
    """Check the arguments of a ranking loss and return them as `PaddedLists`.

    `scores` and `relevance` are `[Q, L]`, `mask` is a bool tensor of that shape or None. Values on padding are never
    read, be they NaN or a relevance of -1.
    """
    if not scores.is_floating_point():
        raise ValueError(f"scores: expected a floating dtype, got {scores.dtype}")
    if scores.ndim != 2:
        raise ValueError(f"scores: expected shape [Q, L], got {list(scores.shape)}")
    if relevance.shape != scores.shape:
        raise ValueError(
            f"relevance: expected shape {list(scores.shape)} like scores, got {list(relevance.shape)}"
        )
    is_padded = mask is not None
    if mask is None:
        mask = torch.ones_like(scores, dtype=torch.bool)
    if mask.shape != scores.shape:
        raise ValueError(f"mask: expected shape {list(scores.shape)} like scores, got {list(mask.shape)}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask: expected dtype torch.bool, got {mask.dtype}")
    if scores.shape[1] == 0:  # one padding document keeps every reduction below defined
        scores, relevance, mask = (F.pad(values, (0, 1)) for values in (scores, relevance, mask))
        is_padded = True
    scores = scores.to(compute_dtype(scores))
    relevance = relevance.to(scores.dtype)
    without_padding = relevance
    if is_padded:
        scores, relevance = scores.masked_fill(~mask, 0), relevance.masked_fill(~mask, 0)
        without_padding = relevance.masked_fill(~mask, math.inf)
    check_range("relevance", relevance, 0.0, math.inf)
    has_pair = relevance.amax(1) > without_padding.amin(1)
    return PaddedLists(scores, relevance, mask, is_padded, mask.sum(1), has_pair)


def check_weight(weight: Tensor, size: int, each: str) -> None:
    """Raise ValueError unless `weight` is `[size]`, one per `each`, and (on a CPU) nowhere below zero."""
    if weight.shape != (size,):
        raise ValueError(f"weight: expected shape [{size}], one per {each}, got {list(weight.shape)}")
    check_range("weight", weight, 0.0, math.inf)
