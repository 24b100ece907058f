"""Two processes draw what one draws for the joint batch, row by row and to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund.models.inputs import CategoricalEmbedding
from lit_mlfund.modules.steps.joint_draws import draw_jointly


def outputs(module: nn.Module, x: Tensor, seed: int = 3) -> list[Tensor]:
    """Call the module twice in training, from one random state."""
    torch.manual_seed(seed)
    return [module.train()(x), module(x)]


@pytest.mark.parametrize("shape", [(12, 7), (12, 3, 5)])
@pytest.mark.parametrize("world", [2, 3])
def test_dropout(shape: tuple[int, ...], world: int) -> None:
    x = torch.randn(shape)
    model = nn.Sequential(nn.Linear(shape[-1], 33), nn.Dropout(0.4), nn.ReLU(), nn.Dropout(0.2))
    whole = outputs(model, x)
    for rank in range(world):
        own = copy.deepcopy(model)
        draw_jointly(own, rank, world)
        for part, expected in zip(outputs(copy.deepcopy(own), x[rank::world]), whole):
            torch.testing.assert_close(part, expected[rank::world], rtol=1e-6, atol=1e-6)
            assert torch.equal(part == 0, expected[rank::world] == 0)
        assert torch.equal(own.eval()(x), model.eval()(x))
        assert own.state_dict().keys() == model.state_dict().keys()


def test_code_dropout() -> None:
    codes = torch.randint(1, 9, (10, 2))
    model = CategoricalEmbedding([9, 9], 4, code_dropout=0.5)
    whole = outputs(model, codes)
    for rank in range(2):
        own = copy.deepcopy(model)
        draw_jointly(own, rank, 2)
        for part, expected in zip(outputs(own, codes[rank::2]), whole):
            assert torch.equal(part, expected[rank::2])
