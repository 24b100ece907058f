"""Outputs of several processes come back in the order of the data."""

from __future__ import annotations

import pytest
import torch

from lit_mlfund.modules.outputs import ListOutputs, PointOutputs, interleave, join


@pytest.mark.parametrize(("rows", "processes"), [(10, 2), (11, 3), (2, 4), (7, 1)])
def test_interleave_is_the_inverse_of_sharing_out(rows: int, processes: int) -> None:
    whole = PointOutputs(torch.randn(rows, 3), torch.arange(rows), index=torch.arange(rows) + 5)
    shares = [whole.take(torch.arange(rows)[rank::processes]) for rank in range(processes)]
    joined = interleave([share if len(share) else None for share in shares])
    assert joined.weight is None and joined.tensors().keys() == {"output", "target", "index"}
    assert all(torch.equal(joined.tensors()[name], value) for name, value in whole.tensors().items())


def test_nothing_was_evaluated() -> None:
    with pytest.raises(ValueError, match="nothing was evaluated"):
        interleave([None, None])


def test_lists_of_different_widths_are_padded() -> None:
    parts = [
        ListOutputs(torch.ones(q, w), torch.ones(q, w), torch.ones(q, w).bool()) for q, w in ((2, 3), (1, 5))
    ]
    joined = join(parts)
    assert joined.output.shape == (3, 5) and joined.output.sum() == joined.mask.sum() == 11


def test_flat_values_of_padded_lists() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    rows = torch.tensor([[8, 3, 0], [1, 0, 0]])  # one more than the place in the file
    outputs = ListOutputs(torch.zeros(2, 3), torch.arange(6.0).view(2, 3), mask, rows, torch.tensor([4, 9]))
    assert outputs.flat_target().tolist() == [0, 1, 3]
    assert outputs.flat_rows().tolist() == [7, 2, 0]
    assert outputs.file_order().tolist() == [2, 1, 0]
    columns = outputs.row_columns()
    assert columns["query"].tolist() == [4, 4, 9] and columns["row"].tolist() == [7, 2, 0]
    again = outputs.with_flat_output(torch.tensor([5.0, 6.0, 7.0]))
    assert again.output.tolist() == [[5, 6, 0], [7, 0, 0]]
