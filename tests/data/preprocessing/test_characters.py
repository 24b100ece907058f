"""Character ids: the vocabulary, what is not in it, and texts that are encoded in pieces."""

from __future__ import annotations

import pytest
import torch

from lit_mlfund.data.preprocessing import characters
from lit_mlfund.data.preprocessing.characters import Characters


def test_pieces_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(characters, "PIECE", 3)
    known = Characters.fit("cab")
    ids = known.encode("abcabz𝄞c")
    assert ids.tolist() == [1, 2, 3, 1, 2, 0, 0, 3] and ids.dtype == torch.uint8
    assert known.decode(ids) == "abcab\ufffd\ufffdc"
    assert Characters("".join(map(chr, range(300)))).encode("a").dtype == torch.int32
