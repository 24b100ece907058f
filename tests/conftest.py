"""A small house of its own: sources that are never imported, and a configuration tree that names them."""

from __future__ import annotations

import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.config import catalog, signatures, source_signatures

SOURCES = {
    "losses/__init__.py": """
        from lit_mlfund.losses.pointwise import BCE, Huber, MSE
        from lit_mlfund.losses.listwise import LambdaRank
        from lit_mlfund.losses.composite import Composite
    """,
    "losses/pointwise.py": """
        from torch import nn

        class BCE(nn.Module):
            tasks = ("binary",)
            def __init__(self, pos_weight: float | None = None, label_smoothing: float = 0.0): ...

        class MSE(nn.Module):
            tasks = ("regression",)

        class Huber(MSE):
            def __init__(self, delta: float = 1.0): ...
    """,
    "losses/listwise.py": """
        import torch.nn as nn
        class LambdaRank(nn.Module):
            tasks: tuple[str, ...] = ("ranking",)
            def __init__(self, sigma: float = 1.0, k: int | None = None): ...
    """,
    "losses/composite.py": """
        from collections.abc import Mapping
        from typing import TypedDict
        from torch import nn

        class Part(TypedDict):
            loss: nn.Module
            weight: float

        class Composite(nn.Module):
            tasks = ("binary", "regression", "ranking")
            def __init__(self, parts: Mapping[str, Part]): ...
    """,
    "models/__init__.py": """
        from typing import Literal
        from torch import nn

        Activation = Literal["relu", "gelu"]

        class MLP(nn.Module):
            tasks = ("binary", "regression", "ranking")
            inputs = ("numeric", "categorical")
            def __init__(self, spec, *, hidden: list[int] = [64], dropout: float = 0.0,
                         activation: Activation = "relu"): ...

        class CNN(nn.Module):
            tasks = ("binary", "multiclass")
            inputs = ("image",)
            def __init__(self, spec, *, channels: int = 8): ...
    """,
    "datamodules/__init__.py": """
        class Base:
            tasks: tuple[str, ...] = ()
            inputs: tuple[str, ...] = ()
            def __init__(self, *, batch_size: int, seed: int): ...

        class Table(Base):
            tasks = ("binary", "regression", "ranking")
            inputs = ("numeric", "categorical")
            def __init__(self, *, path: str, target: str = "y", time: str | None = None, **kwargs):
                super().__init__(**kwargs)

        class Pictures(Base):
            tasks = ("binary", "multiclass")
            inputs = ("image",)
    """,
    "modules/__init__.py": """
        class TaskModule:
            def __init__(self, model, loss, spec, optimizer=None, schedule=None, monitor: str = ""): ...

        class BinaryModule(TaskModule):
            task = "binary"
            metrics = {"auroc": "max", "accuracy": "max"}

        class RegressionModule(TaskModule):
            task = "regression"
            metrics = {"rmse": "min"}
            def __init__(self, *args, standardize: bool = True, **kwargs):
                super().__init__(*args, **kwargs)

        class RankingModule(TaskModule):
            task = "ranking"
            metrics = {"ndcg@10": "max"}
    """,
    "optim/__init__.py": """
        def adamw(params, *, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                  weight_decay: float = 1e-2): ...
        def cosine(optimizer, num_steps, *, warmup_fraction: float = 0.03): ...
    """,
    "callbacks/__init__.py": """
        from lightning.pytorch.callbacks import Callback
        class EarlyStopping(Callback):
            def __init__(self, monitor: str = "val/loss", patience: int = 5): ...
    """,
    "runs/assembly/trainer.py": """
        from typing import Literal
        Precision = Literal["32-true", "bf16-mixed", "16-mixed", "32"]
        def build_trainer(*, max_epochs: int = 10, devices: int | str = 1, num_nodes: int = 1,
                          accelerator: Literal["cpu", "gpu", "auto"] = "cpu",
                          precision: Precision = "32-true", callbacks=None, logger=None,
                          default_root_dir: str | None = None): ...
    """,
}
CONF = {
    "train": """
        defaults:
          - model: mlp
          - loss: bce
          - data: table
          - optim: adamw
          - schedule: cosine
          - regularization: none
          - trainer: cpu
          - callbacks: default
          - logger: tensorboard
          - task: binary
          - experiment: null
          - debug: null
          - _self_
        name: ${shape}
        seed: 0
        runs_dir: runs
        run: null
    """,
    "task/binary": """
        # @package _global_
        # a label in {0, 1}
        defaults:
          - override /loss: bce
        task: {_target_: lit_mlfund.modules.BinaryModule}
        shape: binary
        monitor: val/auroc
    """,
    "task/regression": """
        # @package _global_
        # a real number
        defaults:
          - override /loss: mse
        task: {_target_: lit_mlfund.modules.RegressionModule}
        shape: regression
        monitor: val/rmse
    """,
    "task/ranking": """
        # @package _global_
        # an order
        defaults:
          - override /loss: lambdarank
        task: {_target_: lit_mlfund.modules.RankingModule}
        shape: ranking
        monitor: val/ndcg@10
    """,
    "loss/bce": "# for labels\n_target_: lit_mlfund.losses.BCE\npos_weight: null\nlabel_smoothing: 0.0",
    "loss/mse": "# for numbers\n_target_: lit_mlfund.losses.MSE",
    "loss/huber": "# for outliers\n_target_: lit_mlfund.losses.Huber\ndelta: 1.0",
    "loss/lambdarank": "# for lists\n_target_: lit_mlfund.losses.LambdaRank\nsigma: 1.0\nk: null",
    "loss/composite": """
        # several
        _target_: lit_mlfund.losses.Composite
        parts:
          first: {loss: {_target_: lit_mlfund.losses.BCE}, weight: 1.0}
          second: {loss: {_target_: lit_mlfund.losses.BCE}, weight: 0.5}
    """,
    "model/mlp": "# layers\n_target_: lit_mlfund.models.MLP\nhidden: [64]\ndropout: 0.0",
    "model/cnn": "# pictures\n_target_: lit_mlfund.models.CNN\nchannels: 8",
    "data/table": """
        # a file
        _target_: lit_mlfund.datamodules.Table
        path: table.parquet
        target: y
        time: null
        batch_size: 32
        seed: ${seed}
    """,
    "data/own": "# yours\n_target_: lit_mlfund.datamodules.Table\npath: ???\nbatch_size: 8\nseed: 1",
    "data/pictures": "# pictures\n_target_: lit_mlfund.datamodules.Pictures\nbatch_size: 32\nseed: 1",
    "optim/adamw": "# the default\n_target_: lit_mlfund.optim.adamw\nlr: 1e-3\nweight_decay: 1e-2",
    "schedule/cosine": "# to zero\n_target_: lit_mlfund.optim.cosine\nwarmup_fraction: 0.03",
    "regularization/none": "# nothing\n{}",
    "trainer/cpu": """
        # one process
        _target_: lit_mlfund.runs.assembly.trainer.build_trainer
        max_epochs: 10
        devices: 1
        accelerator: cpu
        precision: 32-true
    """,
    "callbacks/default": "# stop early\nearly_stopping: {_target_: lit_mlfund.callbacks.EarlyStopping}",
    "logger/tensorboard": "# events\ntensorboard: true",
    "experiment/tilted": """
        # @package _global_
        # a regression of one's own
        defaults:
          - override /task: regression
          - override /loss: huber
        optim: {lr: 0.5}
    """,
    "debug/fast": "# @package _global_\n# quick\ntrainer: {max_epochs: 1}",
}


def _write_tree(folder: Path, files: dict[str, str], suffix: str = ".yaml") -> Path:
    for name, text in files.items():
        file = folder / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).strip() + "\n")
    return folder


@pytest.fixture
def write_tree() -> Callable[[Path, dict[str, str]], Path]:
    """Writes dedented YAML files below a folder."""
    return _write_tree


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small house in place of ours; the current directory is empty and its own."""
    root = _write_tree(tmp_path / "house" / "lit_mlfund", SOURCES, "")
    conf = _write_tree(tmp_path / "house" / "conf", CONF)
    monkeypatch.setattr(source_signatures, "_ROOT", root)
    monkeypatch.setattr(catalog, "own_folder", lambda: conf)
    source_signatures._module.cache_clear()
    signatures.describe.cache_clear()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield conf
    source_signatures._module.cache_clear()
    signatures.describe.cache_clear()


def behave(function: Callable[[Path], dict[str, Any]]) -> None:
    """Replace what the stand-in of `executed` does with a run folder."""
    sys.modules["lit_mlfund.runs.execution.execute"].behave(function)  # type: ignore[attr-defined]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Path, bool]]]:
    """A stand-in for the execution of a run: (run_dir, resume) of each call; what it does can be replaced."""
    calls: list[tuple[Path, bool]] = []
    module = types.ModuleType("lit_mlfund.runs.execution.execute")

    def execute(run_dir: Path, *, resume: bool = False) -> dict[str, Any]:
        calls.append((run_dir, resume))
        return behaviour(run_dir)

    def done(run_dir: Path) -> dict[str, Any]:
        result = {"run": str(run_dir), "status": "done", "objective": {"name": "val/auroc", "value": 0.7}}
        (run_dir / "result.json").write_text('{"status": "done"}')
        return result

    behaviour: Callable[[Path], dict[str, Any]] = done

    def behave(function: Callable[[Path], dict[str, Any]]) -> None:
        nonlocal behaviour
        behaviour = function

    module.execute = execute  # type: ignore[attr-defined]
    module.behave = behave  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lit_mlfund.runs.execution.execute", module)
    yield calls
