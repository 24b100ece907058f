"""Positions as rows: losses, metrics and predictions against flat computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.token_windows import WindowStore
from lit_mlfund.losses import CrossEntropyLoss, FocalLoss
from lit_mlfund.metrics import evaluate_multiclass, evaluate_tokens
from lit_mlfund.modules import NextTokenModule
from lit_mlfund.modules.outputs import interleave, join

K, LENGTH = 5, 8
SPEC = DataSpec(
    "multiclass", {"tokens": Field("sequence", (LENGTH,), cardinalities=(K,))}, classes=tuple("?abcd")
)


class Bigrams(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(K, K)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.table(x["tokens"])


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(K, (75,), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("loss", [CrossEntropyLoss(label_smoothing=0.1), FocalLoss()])
def test_the_training_loss_is_that_of_the_flat_rows(tokens: Tensor, loss: nn.Module) -> None:
    module = NextTokenModule(Bigrams(), loss, SPEC, monitor="val/log_loss")
    store = WindowStore.strided(tokens, LENGTH, LENGTH)
    batch = store.batch(torch.tensor([3, 1]))
    rows = torch.cat([torch.arange(start, start + LENGTH) for start in (3 * LENGTH, LENGTH)])
    logits = module.model({"tokens": tokens[rows].long()})
    torch.testing.assert_close(module.batch_loss(batch), loss(logits, tokens[rows + 1].long()))


def test_every_token_is_measured_once(tokens: Tensor) -> None:
    module = NextTokenModule(Bigrams(), CrossEntropyLoss(), SPEC, monitor="val/bits_per_character")
    assert module.mode == "min"
    store = WindowStore.scored_once(tokens, LENGTH)
    with torch.no_grad():
        for index in torch.arange(len(store)).split(4):
            module.collect(store.batch(index))
        outputs, loss = module.drain()
        logits = module.model({"tokens": tokens[:-1].long()})
    expected = evaluate_multiclass(logits, tokens[1:].long()).values()
    values = module.evaluate(outputs, "test").values()
    assert values["log_loss"] == pytest.approx(expected["log_loss"]) == pytest.approx(loss, rel=1e-6)
    assert values["accuracy"] == pytest.approx(expected["accuracy"])
    assert values["bits_per_character"] == pytest.approx(expected["log_loss"] / math.log(2))
    columns = module.predictions(outputs)
    np.testing.assert_allclose(
        columns["probability_of_target"], logits.softmax(1)[range(74), tokens[1:].long()], rtol=1e-5
    )
    assert "".join(columns["prediction"]) == "".join(SPEC.classes[code] for code in logits.argmax(1))
    assert outputs.flat_rows().tolist() == list(range(1, 75))


def test_two_processes_keep_the_order_of_the_text(tokens: Tensor) -> None:
    module = NextTokenModule(Bigrams(), CrossEntropyLoss(), SPEC)
    store = WindowStore.scored_once(tokens, LENGTH)
    with torch.no_grad():
        parts = [
            join(
                [
                    module.outputs(store.batch(index))[1]
                    for index in torch.arange(len(store))[rank::2].split(3)
                ]
            )
            for rank in range(2)
        ]
        joined = interleave(parts)
    assert torch.equal(joined.flat_target(), tokens[1:].int())


def test_intervals_are_those_of_whole_windows() -> None:
    """Windows of equal tokens: the error is that of few windows, however many tokens each has."""
    generator = torch.Generator().manual_seed(0)
    loss = torch.rand(40, 1, generator=generator)
    few, many = (
        evaluate_tokens(-loss.expand(40, length), torch.zeros(40, length, dtype=torch.bool)).intervals()
        for length in (1, 500)
    )
    for name in ("log_loss", "bits_per_character"):
        assert many[name].high - many[name].low == pytest.approx(few[name].high - few[name].low)
    assert few["log_loss"].value == pytest.approx(loss.mean().item())
    half = torch.ones(40, 4, dtype=torch.bool)
    half[:, :2] = False
    spoilt = (-loss.expand(40, 4)).clone()
    spoilt[:, :2] = -99.0
    counted = evaluate_tokens(spoilt, torch.ones(40, 4, dtype=torch.bool), half).values()
    assert counted["log_loss"] == pytest.approx(loss.mean().item()) and counted["accuracy"] == 1.0
    with pytest.raises(ValueError, match="no token to evaluate"):
        evaluate_tokens(spoilt, half, torch.zeros_like(half))
    with pytest.raises(ValueError, match="log_probability must be finite"):
        evaluate_tokens(torch.tensor([[-torch.inf]]), torch.tensor([[True]]))


def test_refuses_metrics_of_other_classes() -> None:
    with pytest.raises(ValueError, match="val/macro_f1 is not measured"):
        NextTokenModule(Bigrams(), CrossEntropyLoss(), SPEC, monitor="val/macro_f1")
