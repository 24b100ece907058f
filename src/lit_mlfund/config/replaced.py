"""Drops the values of an option's file where another class has taken the place of the file's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from lit_mlfund.config.catalog import Catalog
from lit_mlfund.config.options import node_of
from lit_mlfund.config.schema import SECTIONS
from lit_mlfund.config.signatures import describe
from lit_mlfund.config.source_signatures import TargetError


def drop_replaced_values(config: DictConfig, catalog: Catalog, typed: Collection[str]) -> None:
    """Delete from each node, in place, the values of its option's file that belong to a class that is not built.

    With `model=mlp model._target_=my.Net` the `hidden` and `dropout` of mlp.yaml mean nothing to `my.Net`, which has
    defaults of its own. Kept are values that were typed, those that differ from the file's, and references to other
    parts of the configuration that the new class takes (`seed: ${seed}`).

    Args:
        config: composed, not resolved, with Hydra's own section, which names the chosen options.
        catalog: the files.
        typed: keys of the command line, such as `model.hidden`.
    """
    choices = config.hydra.runtime.choices
    for section in SECTIONS:
        node, option = config.get(section), choices.get(section)
        if isinstance(node, DictConfig) and isinstance(option, str):
            for path, inner, shipped in _replaced(section, node, node_of(catalog, section, option)):
                _drop(inner, shipped, {key.removeprefix(f"{path}.") for key in typed})


def _replaced(
    path: str, node: DictConfig, shipped: dict[str, Any]
) -> Iterator[tuple[str, DictConfig, dict[str, Any]]]:
    """Yield path, node and file content wherever a node has another target than its file."""
    raw = OmegaConf.to_container(node, resolve=False)
    assert isinstance(raw, dict)
    if "_target_" in shipped and raw.get("_target_") != shipped["_target_"]:
        yield path, node, shipped
        return
    for key, value in shipped.items():
        if isinstance(value, dict) and isinstance(raw.get(key), dict):  # neither null nor an interpolation
            yield from _replaced(f"{path}.{key}", node[key], value)


def _drop(node: DictConfig, shipped: dict[str, Any], typed: set[str]) -> None:
    raw = OmegaConf.to_container(node, resolve=False)
    assert isinstance(raw, dict)
    try:
        parameters = describe(str(raw["_target_"])).parameters
    except TargetError:  # the check reports it
        return
    with open_dict(node):
        for key, value in shipped.items():
            reference = key in parameters and isinstance(value, str) and "${" in value
            if key != "_target_" and raw.get(key) == value and key not in typed and not reference:
                node.pop(key, None)
