"""A data module made in Python has the defaults that its YAML file gives on the command line."""

from __future__ import annotations

import inspect
from pathlib import Path

import hydra.utils
import pytest
import yaml

from lit_mlfund.config.catalog import own_folder

FILES = sorted((own_folder() / "data").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_equal_to_the_file(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    node = content.get("data", content)
    parameters = inspect.signature(hydra.utils.get_class(node["_target_"])).parameters
    differ = {}
    for name, value in node.items():
        if name in ("_target_", "defaults", "task") or value == "???":
            continue
        default = parameters[name].default
        given = 0 if value == "${seed}" else value
        if (
            default is parameters[name].empty
            or (list(default) if isinstance(default, tuple) else default) != given
        ):
            differ[name] = (default, given)
    if "task" in node:
        assert node["task"] == "${shape}" and parameters["task"].default is None
    assert differ == {}
