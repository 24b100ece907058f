"""Derives random numbers from what they are for, not from what was drawn before.

An augmentation that takes its numbers from here treats a row in an epoch the same whatever its batch, however many
processes train and wherever a run was resumed.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 2**64 - 1
_COLUMNS = 2**20  # more than any text has tokens
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def uniform(row: Tensor, num: int, *, seed: int, epoch: int, stream: int = 0) -> Tensor:
    """Return `[B, num]` float32 numbers in [0, 1) by hashing (seed, stream, epoch, row, column).

    `row` is int64 `[B]`. The hash is SplitMix64 (Steele, Lea and Flood 2014). A row's first columns do not depend on
    `num`. Different purposes in one run need different values of `stream`.
    """
    key = 0
    for part in (seed, stream, epoch):
        key = _scramble((key ^ part) + _STEP & _MASK)
    counter = row[:, None] * _COLUMNS + torch.arange(num, device=row.device)
    bits = counter * _as_int64(_STEP) + _as_int64(key)  # int64 overflow wraps around, as intended
    bits = (bits ^ _logical_shift_right(bits, 30)) * _as_int64(_FIRST)
    bits = (bits ^ _logical_shift_right(bits, 27)) * _as_int64(_SECOND)
    bits = bits ^ _logical_shift_right(bits, 31)
    return _logical_shift_right(bits, 40).float() * 2.0**-24


def _scramble(value: int) -> int:
    value = (value ^ value >> 30) * _FIRST & _MASK
    value = (value ^ value >> 27) * _SECOND & _MASK
    return value ^ value >> 31


def _as_int64(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _logical_shift_right(bits: Tensor, by: int) -> Tensor:
    """Shift right, moving in zeros, which `>>` does not for negative numbers."""
    return (bits >> by) & (2 ** (64 - by) - 1)
