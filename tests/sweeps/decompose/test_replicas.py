"""Replicas on disjoint parts of the training rows: stacked or one after another, the same predictions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from lit_mlfund.config.compose import Composer
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.datamodules import DataModule
from lit_mlfund.runs.assembly.data_reuse import load_data
from lit_mlfund.runs.assembly.objects import quiet_lightning
from lit_mlfund.runs.assembly.part import part_of
from lit_mlfund.runs.evaluation.retraining import retrained
from lit_mlfund.sweeps.decompose import replicas

SMALL = ("data=breast_cancer", "model=mlp", "model.hidden=[8]", "model.dropout=0.1", "trainer.max_epochs=3")


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return Composer().checked(["task=binary", *SMALL, "data.batch_size=32", "callbacks=none"]).config


@pytest.fixture
def data(config: dict[str, Any]) -> DataModule:
    quiet_lightning()
    return load_data(OmegaConf.create(config))


def test_parts_are_disjoint_and_equally_large() -> None:
    parts = replicas.disjoint_parts(398, 12, seed=3)
    assert [len(part) for part in parts] == [33] * 12
    assert len(torch.cat(parts).unique()) == 12 * 33
    assert int(torch.cat(parts).max()) < 398
    assert not torch.equal(parts[0], replicas.disjoint_parts(398, 12, seed=4)[0])
    with pytest.raises(ConfigError, match=r"300 disjoint parts of 309 .* at most 30 are possible"):
        replicas.disjoint_parts(309, 300, seed=0)


def test_stacked_replicas_predict_what_they_would_alone(
    config: dict[str, Any], data: DataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = replicas.train_replicas(config, data, 4, 2, None)
    monkeypatch.setattr(replicas, "unstackable", lambda configs: ["asked for"])
    alone = replicas.train_replicas(config, data, 4, 2, None)
    assert (together.unstacked, alone.unstacked) == ([], ["asked for"])
    assert together.rows == alone.rows == {"train": 398, "replica": 99, "left_over": 2, "test": 86}
    assert len(together.outputs) == len(alone.outputs) == 8
    for one, other in zip(together.outputs, alone.outputs):
        torch.testing.assert_close(one.output, other.output, rtol=0, atol=1e-5)
    outputs = torch.stack([part.output for part in alone.outputs])
    assert len(outputs.unique(dim=0)) == 8  # of rows and seeds of their own


def test_a_replica_is_trained_on_its_part_alone(config: dict[str, Any], data: DataModule) -> None:
    whole = data.stores["train"]
    rows = replicas.disjoint_parts(398, 4, config["seed"])[0]
    part = part_of(data, rows)
    assert torch.equal(part.whole("train").y, whole.y[rows])
    assert torch.equal(part.whole("train").index, whole.index[rows] if whole.index is not None else rows)
    assert (part.spec.num_train, data.spec.num_train) == (99, 398)
    assert data.stores["train"] is whole
    state = torch.get_rng_state()
    module = retrained(OmegaConf.create(config), part)
    assert torch.equal(state, torch.get_rng_state())
    other = torch.ones(398, dtype=torch.bool)
    other[rows] = False
    whole.y[other] = 1 - whole.y[other]  # no other row is looked at
    replica = replicas.train_replicas(config, data, 4, 1, None).outputs[0]
    torch.testing.assert_close(replica.output, module.collected["test"].output, rtol=0, atol=1e-5)


def test_models_without_a_stacked_form_are_trained_one_after_another(
    config: dict[str, Any], data: DataModule
) -> None:
    periodic = {**config, "model": {**config["model"], "numeric_embedding": "periodic"}}
    trained = replicas.train_replicas(periodic, data, 2, 1, None)
    assert len(trained.unstacked) == 1 and "has no stacked form" in trained.unstacked[0]
    assert len(trained.outputs) == 2


def test_each_replica_has_weights_of_its_own(config: dict[str, Any], data: DataModule) -> None:
    still = {
        **config,
        "optim": {**config["optim"], "lr": 1e-12},
    }  # the predictions are those of the first weights
    outputs = replicas.train_replicas(still, data, 2, 2, None).outputs
    apart = [(one.output - outputs[0].output).abs().max() for one in outputs[1:]]
    assert min(apart) > 1e-2
