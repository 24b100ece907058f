"""Checks that classes of other packages have the base class of their group, and that losses take weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lit_mlfund.config.options import nodes
from lit_mlfund.config.signatures import declared, describe
from lit_mlfund.config.source_signatures import PACKAGE, Target, TargetError

# group -> the class that its nodes must derive from, and its name in messages
KINDS = {
    "data": ("lit_mlfund.datamodules.base.DataModule", "lit_mlfund.datamodules.DataModule"),
    "task": ("lit_mlfund.modules.base.TaskModule", "lit_mlfund.modules.TaskModule"),
    "callbacks": ("lightning.pytorch.callbacks.callback.Callback", "lightning.pytorch.Callback"),
    "regularization": ("lightning.pytorch.callbacks.callback.Callback", "lightning.pytorch.Callback"),
    "logger": ("lightning.pytorch.loggers.logger.Logger", "lightning.pytorch.loggers.Logger"),
}
SEVERAL = ("callbacks", "regularization", "logger")  # groups whose nodes lie one level below


def outside_problems(config: dict[str, Any]) -> list[str]:
    """Return one line for each class of another package that cannot do what its group requires."""
    return [*_wrong_kinds(config), *_ignored_weights(config)]


def _wrong_kinds(config: dict[str, Any]) -> Iterator[str]:
    for group, (base, name) in KINDS.items():
        value = config.get(group)
        entries = value.items() if group in SEVERAL and isinstance(value, dict) else ((None, value),)
        for key, node in entries:
            target = _outside(node)
            if target is not None and target.bases and base not in target.bases:
                path = group if key is None else f"{group}.{key}"
                yield f"{path}._target_: {target.path} is not a {name}, which {group} requires"


def _outside(node: Any) -> Target | None:
    """Return what is known of the target of a node; None where it is ours or leads nowhere."""
    path = node.get("_target_") if isinstance(node, dict) else None
    if not isinstance(path, str) or path.startswith(f"{PACKAGE}."):
        return None
    try:
        return describe(path)
    except TargetError:
        return None


def _ignored_weights(config: dict[str, Any]) -> Iterator[str]:
    """Report losses whose `forward` takes no `weight`, beside data or a regularization that weights rows."""
    data, chosen = config.get("data"), config.get("regularization")
    sources = []
    if isinstance(data, dict) and data.get("weight") is not None:
        sources.append("data.weight")
    if isinstance(chosen, dict):
        sources += [f"regularization={key}" for key, node in chosen.items() if declared(node, "weighs_rows")]
    if not sources:
        return
    for path, node in nodes(config.get("loss"), "loss"):
        target = _outside(node)
        keywords = target.attributes.get("forward") if target is not None else None
        if keywords is not None and "weight" not in keywords:
            yield (
                f"{path}: {node['_target_']} takes no weight in forward, but {' and '.join(sources)} weights rows; "
                "add weight=None to its forward, or leave the weights out"
            )
