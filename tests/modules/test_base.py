"""What every task module asks of its parts."""

from __future__ import annotations

import pytest
from torch import nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.losses import BinaryCrossEntropyLoss
from lit_mlfund.modules import BinaryModule

SPEC = DataSpec(task="binary", inputs={"numeric": Field("numeric", (3,))})


@pytest.mark.parametrize(
    "loss", [BinaryCrossEntropyLoss(reduction="none"), nn.BCEWithLogitsLoss(reduction="none")]
)
def test_refuses_a_loss_per_example(loss: nn.Module) -> None:
    with pytest.raises(
        ValueError, match="loss: training minimises the mean of a batch, got reduction='none'"
    ):
        BinaryModule(nn.Linear(3, 1), loss, SPEC)
