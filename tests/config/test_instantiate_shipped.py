"""`hydra.utils.instantiate` takes every shipped node as it stands: no key in it is one that only our program reads."""

from __future__ import annotations

import inspect

import hydra.utils
import pytest
from omegaconf import OmegaConf

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.compose import Composer
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.options import nodes, options
from lit_mlfund.config.schema import SECTIONS
from lit_mlfund.config.type_hints import MISSING

CATALOG = catalog()
GROUPS = [group for group in CATALOG.groups if group in SECTIONS]
OPTIONS = [(group, option) for group in GROUPS for option in options(CATALOG, group)]


@pytest.mark.parametrize(
    ("group", "option"), OPTIONS, ids=[f"{group}={option.name}" for group, option in OPTIONS]
)
def test_hydra_builds_it(group: str, option: object) -> None:
    tasks = getattr(option, "tasks", ()) or ("binary",)
    task = option.name if group == "task" else tasks[0]  # type: ignore[attr-defined]
    lines = [f"task={task}"] + ([] if group == "task" else [f"{group}={option.name}"])  # type: ignore[attr-defined]
    try:
        config = Composer().compose(lines).config
    except ConfigError as error:
        pytest.fail(str(error))
    section = SECTIONS[group]
    for _, node in nodes({key: part for key, part in (config[group] or {}).items()}, group):
        given_by_user = {key: "given" for key, value in node.items() if value == MISSING}
        partial = hydra.utils.instantiate(
            OmegaConf.create(node | given_by_user), _partial_=True, _convert_="all"
        )
        function, given = partial.func, partial.keywords
        supplied = dict.fromkeys((*section.supplied, *section.offered))
        accepted = inspect.signature(function).parameters
        named = {name: value for name, value in supplied.items() if name in accepted}
        inspect.signature(function).bind(**given, **named)  # TypeError for a key that it does not take
