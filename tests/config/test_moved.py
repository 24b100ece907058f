"""Targets of earlier versions lead to where their classes are today."""

from __future__ import annotations

from importlib import import_module

import hydra.utils
import pytest

from lit_mlfund.config.moved import MODULES, current_layout, current_path, current_targets
from lit_mlfund.config.signatures import describe


@pytest.mark.parametrize("old", MODULES)
def test_every_module_is_there(old: str) -> None:
    import_module(MODULES[old])


def test_nested_targets_and_those_of_others() -> None:
    old = {
        "_target_": "lit_mlfund.reports.claim.Claim",
        "panels": [{"_target_": "lit_mlfund.reports.claim_panels.Dots"}],
    }
    new = current_targets({"claim": old, "model": {"_target_": "my.runtime.trainer.Net"}, "seed": 1})
    assert new["claim"]["_target_"] == "lit_mlfund.sweeps.claims.claim.Claim"
    assert new["claim"]["panels"][0]["_target_"] == "lit_mlfund.sweeps.claims.panels.Dots"
    assert new["model"]["_target_"] == "my.runtime.trainer.Net" and new["seed"] == 1


@pytest.mark.parametrize(
    "path", ["lit_mlfund.runtime.trainer.build_trainer", "lit_mlfund.runtime.stacked.StackedSweep"]
)
def test_a_configuration_of_the_users_own_still_works(path: str) -> None:
    assert hydra.utils.get_object(path) is hydra.utils.get_object(current_path(path))
    assert describe(path).parameters == describe(current_path(path)).parameters


def test_keys_that_have_moved() -> None:
    old = {
        "task": {"name": "binary", "x": 1},
        "data": {"max_epochs": 7, "monitor": "val/auroc", "batch_size": 8},
    }
    assert current_layout(old) == {
        "task": {"x": 1},
        "data": {"batch_size": 8},
        "shape": "binary",
        "recommended": {"max_epochs": 7, "monitor": "val/auroc"},
    }
