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


def test_digest_tells_the_examples_whatever_was_predicted() -> None:
    def outputs(output: float = 0.0, **changed: torch.Tensor) -> PointOutputs:
        parts = {"target": torch.arange(4), "weight": torch.ones(4), "index": torch.arange(4) + 7} | changed
        return PointOutputs(torch.full((4,), output), **parts)

    same = [outputs(), outputs(3.0), outputs(target=torch.arange(4, dtype=torch.int32))]
    assert len({one.digest() for one in same}) == 1
    others = [
        outputs(target=torch.tensor([0, 1, 3, 2])),
        outputs(weight=torch.tensor([1.0, 1, 1, 2])),
        outputs(index=torch.arange(4)),
        outputs(index=torch.tensor([8, 7, 9, 10])),
    ]
    assert len({one.digest() for one in [same[0], *others]}) == 5
    mask = torch.tensor([[True, True, False], [True, False, False]])
    lists = ListOutputs(torch.zeros(2, 3), torch.ones(2, 3), mask, index=torch.tensor([4, 9]))
    moved = ListOutputs(torch.zeros(2, 3), torch.ones(2, 3), mask.flip(0), index=torch.tensor([4, 9]))
    none = torch.zeros(0, 5)
    wider = join([lists, ListOutputs(none, none, none.bool(), index=torch.zeros(0).long())])
    assert wider.mask.shape == (2, 5)
    assert lists.digest() == wider.digest() != moved.digest()
