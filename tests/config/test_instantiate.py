"""Nodes of a configuration become objects: with plain values, and with the nodes inside them built too."""

from __future__ import annotations

from typing import Any

import hydra.utils
import pytest
from omegaconf import OmegaConf
from torch import nn

from lit_mlfund.config.instantiate import instantiate, is_own
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.losses import CompositeLoss, MSELoss
from lit_mlfund.models import MLP

SPEC = DataSpec("regression", {"numeric": Field("numeric", (3,), ("a", "b", "c"))})


def test_values_are_plain_and_supplied_ones_win() -> None:
    node = OmegaConf.create(
        {"width": 4, "model": {"_target_": "lit_mlfund.models.MLP", "hidden": ["${width}", 2]}}
    ).model
    model = instantiate(node, spec=SPEC)
    assert isinstance(model, MLP)
    assert [part.out_features for part in model.modules() if isinstance(part, nn.Linear)] == [4, 2, 1]
    assert instantiate(OmegaConf.create({"_target_": "lit_mlfund.losses.HuberLoss"}), delta=3.0).delta == 3


def test_a_node_inside_is_built() -> None:
    part = {"_target_": "lit_mlfund.losses.MSELoss"}
    node = {"_target_": "lit_mlfund.losses.CompositeLoss", "parts": {"a": {"loss": part, "weight": 2.0}}}
    loss = instantiate(OmegaConf.create(node))
    assert isinstance(loss, CompositeLoss)
    assert isinstance(loss.losses["a"], MSELoss)


def test_other_peoples_targets_are_for_hydra_to_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[Any] = []
    monkeypatch.setattr(hydra.utils, "instantiate", lambda node, **_: nodes.append(node) or nn.Linear)
    instantiate({"_target_": "torch.nn.Linear"}, in_features=2, out_features=1)
    assert len(nodes) == 1
    instantiate({"_target_": "lit_mlfund.losses.MSELoss"})
    assert len(nodes) == 1


def test_what_a_checkpoint_may_name() -> None:
    own = {"_target_": "lit_mlfund.losses.MSELoss"}
    assert is_own(own) and is_own({**own, "parts": [{"loss": own}]})
    for node in (
        {},
        {"parts": own},
        {"_target_": "torch.nn.MSELoss"},
        {"_target_": "lit_mlfund.losses.regression.MSELoss"},
        {**own, "parts": {"a": [{"_target_": "os.system"}]}},
        {**own, "_partial_": True},
    ):
        assert not is_own(node), node
