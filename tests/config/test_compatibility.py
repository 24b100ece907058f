"""Parts that do not fit each other, and what to use instead."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.compatibility import _blends, _ignored_weights
from lit_mlfund.config.compose import Composer
from lit_mlfund.config.options import options


def problems(*lines: str) -> list[str]:
    return Composer(None, lines).compose(lines).problems


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["task=regression", "loss=bce"], ["loss: BCE does not fit task=regression; use loss=huber or mse"]),
        (
            ["task=ranking", "data=pictures", "model=cnn"],
            [
                "model: CNN does not fit task=ranking; use model=mlp",
                "data: Pictures does not fit task=ranking; use data=own or table",
            ],
        ),
        (
            ["data=pictures"],
            ["model: MLP takes numeric and categorical inputs, but Pictures has image; use model=cnn"],
        ),
        (
            ["model=cnn"],
            ["model: CNN takes image inputs, but Table has numeric and categorical; use model=mlp"],
        ),
        (["data=pictures", "model=cnn"], []),
        (
            ["task=regression", "loss=composite"],
            [
                "loss.parts.first.loss: BCE does not fit task=regression; use loss=huber or mse",
                "loss.parts.second.loss: BCE does not fit task=regression; use loss=huber or mse",
            ],
        ),
        (["loss=composite"], []),
        (
            ["task=regression", "monitor=val/auroc"],
            ["monitor: val/auroc is not measured for task=regression; known: val/loss, val/rmse"],
        ),
        (["monitor=auroc"], ["monitor: auroc is not measured for task=binary; did you mean val/auroc?"]),
        (["monitor=val/loss"], []),
        (
            ["callbacks.early_stopping.monitor=val/acuracy"],
            [
                "callbacks.early_stopping.monitor: val/acuracy is not measured for task=binary; "
                "did you mean val/accuracy?"
            ],
        ),
        (["callbacks.early_stopping.monitor=train/loss"], []),
        (["seed=0"], []),
        (["seed=4294967296"], ["seed: expected 0 … 4294967295, got 4294967296"]),
        (["trainer.devices=auto"], []),
        (["trainer.devices='2'"], []),
        (["trainer.devices=many"], ["trainer.devices: expected a number from 1 on or auto, got many"]),
        (["trainer.devices=-1"], ["trainer.devices: expected a number from 1 on or auto, got -1"]),
        (["trainer.num_nodes=0"], ["trainer.num_nodes: expected a number from 1 on, got 0"]),
        (["trainer.precision=32"], []),
        (
            ["trainer.precision=16-mixed"],
            ["trainer.precision: 16-mixed needs a GPU; use bf16-mixed on a CPU"],
        ),
        (["trainer.precision=16-mixed", "trainer.accelerator=gpu"], []),
        (
            ["trainer.precision=bf16mixed"],
            [
                "trainer.precision: expected one of 32-true, bf16-mixed, 16-mixed, 32, got bf16mixed; "
                "did you mean bf16-mixed?"
            ],
        ),
        (["name=größe-1.0+x=y@z"], []),
        (
            ["name=..", "task=regression"],
            ["name: '..' cannot be part of a folder's name; use letters, digits"],
        ),
    ],
)
def test_messages(house: Path, lines: list[str], expected: list[str]) -> None:
    reported = problems(*lines)
    assert len(reported) == len(expected), reported
    for problem, start in zip(reported, expected):
        assert problem.startswith(start)


def test_a_class_of_the_users_own_declares_itself(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_compat.py").write_text(
        "from torch import nn\n"
        "class Ranked(nn.Module):\n    tasks = ('ranking',)\n    def __init__(self, k: int = 3): ...\n"
        "class Silent(nn.Module):\n    def __init__(self, k: int = 3): ...\n"
        "class Deaf(nn.Module):\n    def __init__(self, width: int = 3): ...\n"
        "class Slow:\n    def __init__(self, optimizer, gamma: float = 0.1): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    clean = ("~loss.pos_weight", "~loss.label_smoothing")
    assert problems("loss._target_=mine_compat.Ranked", *clean) == [
        "loss: Ranked does not fit task=binary; use loss=bce or composite"
    ]
    assert problems("loss._target_=mine_compat.Silent", *clean) == []
    assert problems("model._target_=mine_compat.Deaf") == []  # of the file's values none is left
    assert (
        problems("schedule._target_=mine_compat.Slow", "~schedule.warmup_fraction") == []
    )  # no num_steps: fine
    assert "mine_compat" in sys.modules


def test_a_data_set_made_for_one_task(house: Path) -> None:
    source = house.parent / "lit_mlfund" / "datamodules" / "__init__.py"
    source.write_text(source.read_text().replace("target: str", "task: str = 'binary', target: str"))
    (house / "data" / "fixed.yaml").write_text(
        "# fixed\n_target_: lit_mlfund.datamodules.Table\ntask: regression\npath: x\nbatch_size: 1\nseed: 0\n"
    )
    assert problems("data=fixed") == ["data.task: regression is not the task, which is binary"]
    assert problems("data=fixed", "task=regression") == []
    assert {option.name: option.tasks for option in options(catalog(), "data")}["fixed"] == ("regression",)


def test_boosting_beside_data_that_are_no_node() -> None:
    config = {"blend": "boosting", "task": {"_target_": "lit_mlfund.modules.BinaryModule"}, "shape": "binary"}
    assert [told for data in (None, {"path": "x.csv"}) for told in _blends({**config, "data": data})] == []
    (told,) = _blends({**config, "data": {"_target_": "lit_mlfund.datamodules.DigitsDataModule"}})
    assert "not for task=binary and DigitsDataModule" in told


def test_a_loss_that_takes_no_weight_beside_weighted_rows() -> None:
    config = {"loss": {"_target_": "torch.nn.BCEWithLogitsLoss"}, "data": {"weight": None}}
    assert list(_ignored_weights(config)) == []
    (told,) = _ignored_weights({**config, "data": {"weight": "w"}})
    assert told.startswith(
        "loss: torch.nn.BCEWithLogitsLoss takes no weight in forward, but data.weight weights rows"
    )
    assert (
        list(
            _ignored_weights(
                {
                    **config,
                    "loss": {"_target_": "lit_mlfund.losses.BinaryCrossEntropyLoss"},
                    "data": {"weight": "w"},
                }
            )
        )
        == []
    )
