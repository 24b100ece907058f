"""What Lightning promises of any module holds of ours in a plain Trainer: metrics, loggers, callbacks, checkpoints."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lit_mlfund.datamodules import BreastCancerDataModule, DiabetesDataModule
from lit_mlfund.losses import BinaryCrossEntropyLoss, HuberLoss
from lit_mlfund.models import MLP
from lit_mlfund.modules import BinaryModule, RegressionModule


def plain_trainer(folder: Path, **options: Any) -> Trainer:
    defaults = {
        "max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": False, "log_every_n_steps": 5,
        "default_root_dir": str(folder),
    }  # fmt: skip
    return Trainer(**{**defaults, **options})


@pytest.fixture
def data() -> BreastCancerDataModule:
    data = BreastCancerDataModule()
    data.setup()
    return data


@pytest.fixture
def module(data: BreastCancerDataModule) -> BinaryModule:
    torch.manual_seed(0)
    return BinaryModule(MLP(data.spec, hidden=[8]), spec=data.spec, monitor="val/auroc")


def test_test_and_validate_return_the_metrics(
    tmp_path: Path, data: BreastCancerDataModule, module: BinaryModule
) -> None:
    trainer = plain_trainer(tmp_path)
    trainer.fit(module, datamodule=data)
    for split, run in (("test", trainer.test), ("val", trainer.validate)):
        (metrics,) = run(module, datamodule=data, verbose=False)
        assert metrics.keys() == {f"{split}/{name}" for name in ("loss", "ece_null", *module.metrics)}
        expected = {f"{split}/{name}": value for name, value in module.evaluations[split].values().items()}
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_any_logger_gets_training_and_validation(
    tmp_path: Path, data: BreastCancerDataModule, module: BinaryModule
) -> None:
    loggers = [CSVLogger(tmp_path / "a"), CSVLogger(tmp_path / "b")]
    plain_trainer(tmp_path, logger=loggers).fit(module, datamodule=data)
    for logger in loggers:
        with open(Path(logger.log_dir) / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
        steps = [int(row["step"]) for row in rows if row["train/loss"]]
        assert steps == [
            5,
            10,
            13,
            18,
            23,
            26,
        ]  # every fifth batch of 13, and the rest before each validation
        assert len([row for row in rows if row["val/auroc"]]) == 2
        assert all(float(row["gradient/norm"]) > 0 for row in rows if row["train/loss"])


def test_callbacks_of_lightning(tmp_path: Path, data: BreastCancerDataModule, module: BinaryModule) -> None:
    best = ModelCheckpoint(tmp_path / "kept", monitor="val/auroc", mode="max", filename="{epoch}")
    stop = EarlyStopping("train/loss", patience=0, min_delta=10.0)  # nothing improves by so much
    rates = LearningRateMonitor("step")
    trainer = plain_trainer(
        tmp_path,
        max_epochs=9,
        callbacks=[best, stop, rates],
        logger=CSVLogger(tmp_path),
        enable_checkpointing=True,
    )
    trainer.fit(module, datamodule=data)
    assert trainer.current_epoch == 2  # the second was no better
    assert Path(best.best_model_path).exists()
    assert float(best.best_model_score) >= module.measured["val"]["auroc"] - 1e-6  # type: ignore[arg-type]
    assert any(values for name, values in rates.lrs.items() if "AdamW" in name)


def test_load_from_checkpoint(tmp_path: Path, data: BreastCancerDataModule, module: BinaryModule) -> None:
    trainer = plain_trainer(tmp_path)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    loaded = BinaryModule.load_from_checkpoint(tmp_path / "own.ckpt", model=MLP(data.spec, hidden=[8]))
    assert loaded.monitor == "val/auroc" and loaded.spec == data.spec
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in module.state_dict().items())
    with pytest.raises(TypeError, match="model"):
        BinaryModule.load_from_checkpoint(tmp_path / "own.ckpt")  # nobody knows how it was built


def test_a_checkpoint_builds_models_of_ours_and_nothing_else(
    tmp_path: Path, data: BreastCancerDataModule, module: BinaryModule
) -> None:
    module.nodes = {"model": {"_target_": "lit_mlfund.models.MLP", "hidden": [8]}}
    trainer = plain_trainer(tmp_path)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    assert isinstance(BinaryModule.load_from_checkpoint(tmp_path / "own.ckpt").model, MLP)
    for hostile in (
        {"_target_": "os.system", "command": f"touch {tmp_path / 'ran'}"},
        {"_target_": "lit_mlfund.models.mlp.torch.save", "obj": 1, "f": str(tmp_path / "ran")},
        {
            "_target_": "lit_mlfund.models.MLP",
            "hidden": {"_target_": "os.system", "command": f"touch {tmp_path / 'ran'}"},
        },
        {"_target_": "lit_mlfund.models.MLP", "_args_": [1]},
    ):
        state = torch.load(tmp_path / "own.ckpt", weights_only=True)
        state["hyper_parameters"]["model"] = hostile
        torch.save(state, tmp_path / "hostile.ckpt")
        with pytest.raises(ValueError, match="only models and losses of lit_mlfund"):
            BinaryModule.load_from_checkpoint(tmp_path / "hostile.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("optimizer", "kind", "decay"),
    [
        (None, torch.optim.AdamW, 0.01),
        (torch.optim.AdamW, torch.optim.AdamW, 0.01),
        (partial(torch.optim.SGD, lr=0.1, weight_decay=0.3), torch.optim.SGD, 0.3),
        (lambda params: torch.optim.Adam(params, lr=1e-3), torch.optim.Adam, 0.0),
    ],
)
def test_an_optimizer_as_lightning_users_write_it(
    tmp_path: Path, data: BreastCancerDataModule, optimizer: Any, kind: type, decay: float
) -> None:
    module = BinaryModule(MLP(data.spec), BinaryCrossEntropyLoss(), data.spec, optimizer=optimizer)
    trainer = plain_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, datamodule=data)
    (made,) = trainer.optimizers
    assert isinstance(made, kind)
    by_name = {group["name"]: group for group in made.param_groups}
    assert by_name["decay"]["weight_decay"] == decay and by_name["no_decay"]["weight_decay"] == 0
    assert all(parameter.ndim < 2 for parameter in by_name["no_decay"]["params"])


def test_a_schedule_with_or_without_the_number_of_steps(tmp_path: Path, data: BreastCancerDataModule) -> None:
    seen: list[int] = []

    def with_steps(optimizer: torch.optim.Optimizer, num_steps: int) -> Any:
        seen.append(num_steps)
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)

    for schedule in (with_steps, lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer)):
        module = BinaryModule(MLP(data.spec), spec=data.spec, schedule=schedule)
        plain_trainer(tmp_path).fit(module, datamodule=data)
    assert seen == [26]


def test_the_scale_of_a_regression_survives(tmp_path: Path) -> None:
    data = DiabetesDataModule()
    data.setup()
    module = RegressionModule(MLP(data.spec, hidden=[4]), HuberLoss(), data.spec, standardize_target=False)
    trainer = plain_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "r.ckpt")
    loaded = RegressionModule.load_from_checkpoint(tmp_path / "r.ckpt", model=MLP(data.spec, hidden=[4]))
    assert (loaded.mean, loaded.std, loaded.standardize_target) == (0.0, 1.0, False)
