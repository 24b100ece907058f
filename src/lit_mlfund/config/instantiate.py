"""Builds the objects that nodes of a configuration name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import hydra.utils
from omegaconf import OmegaConf

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.signatures import describe
from lit_mlfund.config.source_signatures import TargetError

OWN = ("lit_mlfund.models.", "lit_mlfund.losses.")


def instantiate(node: Mapping[str, Any], **supplied: Any) -> Any:
    """Call the target of a node with its values, as plain Python, and with what the program supplies.

    Passed as keywords to Hydra, supplied dataclasses, lists and dicts would become configurations. A node of ours
    without a node inside is only located with Hydra and called directly: Hydra's own call takes milliseconds.
    """
    values = {
        str(key): OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        if OmegaConf.is_config(value)
        else value
        for key, value in node.items()
    }
    special = []
    for key, part in _hydra_keys(values):
        special.append(key)
        if key == "_target_" and str(part).startswith("lit_mlfund."):
            _require_definition(str(part))
    if special == ["_target_"] and str(values["_target_"]).startswith("lit_mlfund."):
        make = hydra.utils.get_method(str(values.pop("_target_")))
        return make(**{**values, **supplied})
    return hydra.utils.instantiate(node, _partial_=True, _convert_="all")(**supplied)


def _require_definition(path: str) -> None:
    """Raise a ConfigError for a path through one of our modules to what it merely imports, such as `subprocess`."""
    try:
        describe(path)
    except TargetError as error:
        raise ConfigError(str(error)) from error


def instantiate_own(node: Mapping[str, Any], **supplied: Any) -> Any:
    """Build a node that came with somebody's checkpoint: models and losses of this project, and nothing else.

    Raises:
        ValueError: the node, or one inside it, names any other target.
    """
    if not is_own(node):
        found = (str(part) if key == "_target_" else key for key, part in _hydra_keys(node))
        names = ", ".join(found) or "a node without _target_"
        raise ValueError(
            f"{names}: only models and losses of lit_mlfund are built from a checkpoint; pass the object"
        )
    return instantiate(node, **supplied)


def is_own(node: Mapping[str, Any]) -> bool:
    """Return whether a node builds models and losses of this project alone."""
    return "_target_" in node and all(
        key == "_target_" and str(part).startswith(OWN) and str(part).count(".") == 2
        for key, part in _hydra_keys(node)
    )


def _hydra_keys(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield keys like `_target_`, at any depth of a value, and what they hold."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if str(key).startswith("_") and str(key).endswith("_"):
                yield str(key), part
            yield from _hydra_keys(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _hydra_keys(part)
