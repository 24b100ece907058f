import pytest
import torch
from ranking_cases import KINDS, LOSSES, lists, value_and_grad
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_mlfund import losses
from lit_mlfund.losses import document_pairs

every_loss = pytest.mark.parametrize("name", LOSSES)


class LargestTensor(TorchDispatchMode):
    """Sees every tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.numel = max(self.numel, leaf.untyped_storage().nbytes() // leaf.element_size())
        return result


@every_loss
def test_no_tensor_grows_with_the_square_of_the_list(name):
    function, _, _, options = LOSSES[name]
    num_queries, length = 4, 1000
    scores = torch.randn(num_queries, length, requires_grad=True)
    relevance = torch.randint(0, 5, (num_queries, length))
    with LargestTensor() as largest:
        function(scores, relevance, **options).backward()
    assert largest.numel <= 2**16 * torch.get_num_threads() < length**2


def test_one_long_list_among_short_ones_makes_no_large_block():
    mask = torch.zeros(300, 1000, dtype=torch.bool)
    mask[:, :2], mask[-1] = True, True
    scores = torch.randn(300, 1000, requires_grad=True)
    with LargestTensor() as largest:
        losses.ranknet_loss(scores, torch.randint(0, 5, (300, 1000)), mask).backward()
    assert largest.numel <= scores.numel() + 300


@pytest.mark.parametrize("num_pairs", [1, 7, 64, 10**6])
@pytest.mark.parametrize("step", [0, 1, 4])
def test_blocks_cover_each_pair_once(num_pairs, step):
    """All columns, those right of the diagonal, those from the next multiple of 4 on."""
    num_rows, num_columns = [3, 0, 5, 12, 1], [4, 0, 5, 20, 2]

    def first(queries: slice, top: int) -> int:
        return (top // step + 1) * step if step else 0

    count = torch.zeros(5, 12, 20)
    for queries, rows, columns in document_pairs._blocks(num_rows, num_columns, num_pairs, first):
        count[queries, rows, columns] += 1
        assert count[queries, rows, columns].numel() <= max(num_pairs, 20)
    assert count.max() == 1
    for q, (height, width) in enumerate(zip(num_rows, num_columns)):
        for row in range(height):
            assert count[q, row, first(slice(q), row) : width].all()


@every_loss
def test_second_derivatives_are_refused_or_right(name):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists("padded")
    scores.requires_grad_()
    if name.startswith(("ranknet", "lambdarank", "listmle", "approx")):
        with pytest.raises(RuntimeError, match="no second derivative"):
            torch.autograd.grad(function(scores, relevance, mask, **options), scores, create_graph=True)
    else:
        assert torch.autograd.gradgradcheck(lambda s: function(s, relevance, mask, **options), scores)


@every_loss
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_look_at_values_the_result_is_the_same(name, kind, monkeypatch):
    function, _, _, options = LOSSES[name]
    want, want_grad = value_and_grad(function, *lists(kind), **options)
    monkeypatch.setattr(document_pairs, "_on_cpu", lambda tensor: False)  # the path that a GPU takes
    monkeypatch.setattr(document_pairs, "_GPU_BLOCK", 40)
    loss, grad = value_and_grad(function, *lists(kind), **options)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(grad, want_grad)
