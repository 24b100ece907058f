"""Evidence of several processes comes back in the order of the data."""

from __future__ import annotations

import pytest
import torch

from lit_mlfund.modules.outputs import interleave, join


@pytest.mark.parametrize(("rows", "processes"), [(10, 2), (11, 3), (2, 4), (7, 1)])
def test_interleave_is_the_inverse_of_sharing_out(rows: int, processes: int) -> None:
    whole = {"output": torch.randn(rows, 3), "target": torch.arange(rows)}
    shares = [{name: value[rank::processes] for name, value in whole.items()} for rank in range(processes)]
    joined = interleave([share if len(share["target"]) else {} for share in shares])
    assert all(torch.equal(joined[name], value) for name, value in whole.items())


def test_lists_of_different_widths_are_padded() -> None:
    joined = join([{"output": torch.ones(2, 3)}, {"output": torch.ones(1, 5)}])
    assert joined["output"].shape == (3, 5) and joined["output"].sum() == 11
