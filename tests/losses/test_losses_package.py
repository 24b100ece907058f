import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lit_mlfund import losses

MODULES = [module.name for module in pkgutil.iter_modules(losses.__path__, "lit_mlfund.losses.")]
CLASSES = [getattr(losses, name) for name in losses.__all__ if inspect.isclass(getattr(losses, name))]
CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "loss").glob("*.yaml"))
TASKS = {"binary", "multiclass", "regression", "ranking", "retrieval"}


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert result.failed == 0


def test_importing_losses_imports_neither_lightning_nor_hydra():
    code = "import sys, lit_mlfund.losses; print({'lightning', 'hydra'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("cls", CLASSES)
def test_tasks_are_known(cls):
    assert cls.tasks and set(cls.tasks) <= TASKS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_tells_its_use_and_every_default(path):
    assert path.read_text().startswith("# ")
    node = yaml.safe_load(path.read_text())
    cls = getattr(losses, node.pop("_target_").removeprefix("lit_mlfund.losses."))
    if cls is losses.CompositeLoss:
        return
    defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
    defaults.pop("reduction", None)  # training minimises the mean
    assert node == defaults


def test_every_config_is_in_the_table_of_the_documentation():
    table = (Path(__file__).parents[2] / "docs" / "losses.md").read_text()
    assert [path.stem for path in CONFIGS if f"\n| `{path.stem}` |" not in table] == []


def test_every_loss_has_a_config():
    targets = {yaml.safe_load(path.read_text())["_target_"] for path in CONFIGS}
    assert targets >= {f"lit_mlfund.losses.{cls.__name__}" for cls in CLASSES}
