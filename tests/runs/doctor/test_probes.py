"""A fix changes one value of a configuration, and only where it is a value."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from lit_mlfund.runs.doctor.probes import with_fix

CONFIG = OmegaConf.create(
    {
        "checkpoint": "last",
        "optim": {"lr": 0.1},
        "model": {"hidden": [8], "dropout": None},
        "data": {"exclude": []},
    }
)


@pytest.mark.parametrize(
    ("fix", "key", "value"),
    [
        ("optim.lr=1e-05", "optim.lr", 1e-5),
        ("model.hidden=[32,64]", "model.hidden", [32, 64]),
        ("model.dropout=0.2", "model.dropout", 0.2),
        ("checkpoint=best", "checkpoint", "best"),
    ],
)
def test_one_value_is_changed(fix: str, key: str, value: object) -> None:
    changed = with_fix(CONFIG, fix)
    assert changed is not None
    assert OmegaConf.select(changed, key) == value
    assert OmegaConf.select(CONFIG, key) != value
    OmegaConf.update(changed, key, OmegaConf.select(CONFIG, key))
    assert changed == CONFIG


@pytest.mark.parametrize("fix", ["model=mlp", "optim.warmup=3", "data.exclude=[a]"])
def test_other_fixes_are_left_out(fix: str) -> None:
    assert with_fix(CONFIG, fix) is None
