"""Outliers by configuration: in training targets only, before anything is fitted."""

from __future__ import annotations

import pytest
import torch

from lit_mlfund.datamodules import DiabetesDataModule


def test_training_targets_alone_are_made_ten_times_as_large() -> None:
    clean, dirty = (DiabetesDataModule(batch_size=32, seed=0, outliers=share) for share in (0.0, 0.1))
    clean.setup()
    dirty.setup()
    ratio = dirty.stores["train"].y / clean.stores["train"].y
    changed = ratio != 1
    assert int(changed.sum()) == round(0.1 * len(ratio))
    assert torch.allclose(ratio[changed], torch.tensor(10.0))
    for split in ("val", "test"):
        assert torch.equal(dirty.stores[split].y, clean.stores[split].y)
    assert dirty.summary["target"]["std"] > 2 * clean.summary["target"]["std"]  # what a real defect does
    assert any("outliers" in note for note in dirty.summary["notes"])


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="outliers must be a share from 0 to below 1"):
        DiabetesDataModule(batch_size=32, seed=0, outliers=share)
