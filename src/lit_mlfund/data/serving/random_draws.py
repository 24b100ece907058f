"""Random numbers that are a function of what they are for, not of what was drawn before.

An augmentation that takes its numbers from here is the same for a row in an epoch whatever its batch, however many
processes train and wherever a run was resumed.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 2**64 - 1
_COLUMNS = 2**20  # more than any text has tokens
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def uniform(row: Tensor, num: int, *, seed: int, epoch: int, stream: int = 0) -> Tensor:
    """`[B, num]` float32 numbers in [0, 1) of the int64 rows `[B]`, by hashing (seed, stream, epoch, row, column).

    The hash is SplitMix64 (Steele, Lea and Flood 2014). A row's first columns do not depend on `num`. Two
    purposes in one run take two values of `stream`.
    """
    key = 0
    for part in (seed, stream, epoch):
        key = _scramble((key ^ part) + _STEP & _MASK)
    counter = row[:, None] * _COLUMNS + torch.arange(num, device=row.device)
    bits = counter * _signed(_STEP) + _signed(key)  # int64 wraps around, as it should
    bits = (bits ^ _shifted(bits, 30)) * _signed(_FIRST)
    bits = (bits ^ _shifted(bits, 27)) * _signed(_SECOND)
    bits = bits ^ _shifted(bits, 31)
    return _shifted(bits, 40).float() * 2.0**-24


def _scramble(value: int) -> int:
    value = (value ^ value >> 30) * _FIRST & _MASK
    value = (value ^ value >> 27) * _SECOND & _MASK
    return value ^ value >> 31


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _shifted(bits: Tensor, by: int) -> Tensor:
    """A right shift that moves in zeros, which `>>` does not for negative numbers."""
    return (bits >> by) & (2 ** (64 - by) - 1)
