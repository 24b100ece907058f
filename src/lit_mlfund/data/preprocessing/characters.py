"""Text to ids of single characters, by a vocabulary fitted on the training text."""

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
    """The characters of a training text, sorted: id 0 is any other character, ids 1 … are those of `known`."""

    known: str

    @classmethod
    def fit(cls, text: str) -> Self:
        """The vocabulary of everything that occurs in `text`."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.known) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """What each id stands for."""
        return (UNKNOWN_NAME, *self.known)

    def encode(self, text: str) -> Tensor:
        """Ids `[N]` of N characters: uint8 where they fit, else int32."""
        table = np.zeros(0x110000, dtype=np.uint8 if len(self) <= 256 else np.int32)
        table[_points(self.known)] = np.arange(1, len(self))
        ids = np.empty(len(text), dtype=table.dtype)
        for start in range(0, len(text), PIECE):  # in between a character has four bytes
            ids[start : start + PIECE] = table[_points(text[start : start + PIECE])]
        return torch.from_numpy(ids)

    def decode(self, ids: Tensor) -> str:
        """The text of ids `[N]`, with U+FFFD for unknown characters."""
        return "".join(
            "\N{REPLACEMENT CHARACTER}" if i == UNKNOWN else self.known[i - 1] for i in ids.tolist()
        )


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
