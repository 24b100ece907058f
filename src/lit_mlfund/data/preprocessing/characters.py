"""Encodes text as ids of single characters, by a vocabulary fitted on the training text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

UNKNOWN = 0
UNKNOWN_NAME = "<unknown>"
PIECE = 2**20  # characters that are encoded at a time


@dataclass(frozen=True)
class Characters:
    """Maps the sorted characters of a training text, `known`, to ids 1 …, and any other character to id 0."""

    known: str

    @classmethod
    def fit(cls, text: str) -> Self:
        """Build the vocabulary of all characters that occur in `text`."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.known) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Return the character of each id, and a name for the unknown one."""
        return (UNKNOWN_NAME, *self.known)

    def encode(self, text: str) -> Tensor:
        """Return ids `[N]` of N characters: uint8 if they fit, else int32."""
        table = np.zeros(0x110000, dtype=np.uint8 if len(self) <= 256 else np.int32)
        table[_code_points(self.known)] = np.arange(1, len(self))
        ids = np.empty(len(text), dtype=table.dtype)
        for start in range(0, len(text), PIECE):  # in between, a character takes four bytes
            ids[start : start + PIECE] = table[_code_points(text[start : start + PIECE])]
        return torch.from_numpy(ids)

    def decode(self, ids: Tensor) -> str:
        """Return the text of ids `[N]`, with U+FFFD for unknown characters."""
        return "".join(
            "\N{REPLACEMENT CHARACTER}" if i == UNKNOWN else self.known[i - 1] for i in ids.tolist()
        )


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
