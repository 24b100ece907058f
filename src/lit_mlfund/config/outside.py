"""Checks classes that other packages bring: are they what their group builds, and do they know of weights?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lit_mlfund.config.options import nodes
from lit_mlfund.config.signatures import describe
from lit_mlfund.config.source_signatures import PACKAGE, Target, TargetError

# group -> the class that its nodes have to be, and what that is called in a message
KINDS = {
    "data": ("lit_mlfund.datamodules.base.DataModule", "lit_mlfund.datamodules.DataModule"),
    "task": ("lit_mlfund.modules.base.TaskModule", "lit_mlfund.modules.TaskModule"),
    "callbacks": ("lightning.pytorch.callbacks.callback.Callback", "lightning.pytorch.Callback"),
    "regularization": ("lightning.pytorch.callbacks.callback.Callback", "lightning.pytorch.Callback"),
    "logger": ("lightning.pytorch.loggers.logger.Logger", "lightning.pytorch.loggers.Logger"),
}
SEVERAL = ("callbacks", "regularization", "logger")  # groups whose nodes lie one level below


def outside_problems(config: dict[str, Any]) -> list[str]:
    """Return one line for each class of another package that cannot do what its place in the configuration asks."""
    return [*_wrong_kinds(config), *_ignored_weights(config)]


def _wrong_kinds(config: dict[str, Any]) -> Iterator[str]:
    for group, (wanted, name) in KINDS.items():
        value = config.get(group)
        entries = value.items() if group in SEVERAL and isinstance(value, dict) else ((None, value),)
        for key, node in entries:
            target = _outside(node)
            if target is not None and target.bases and wanted not in target.bases:
                path = group if key is None else f"{group}.{key}"
                yield f"{path}._target_: {target.path} is no {name}, which {group} has to be"


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
    """Losses whose `forward` takes no `weight`, beside data or a regularization that weigh rows."""
    data, chosen = config.get("data"), config.get("regularization")
    sources = []
    if isinstance(data, dict) and data.get("weight") is not None:
        sources.append("data.weight")
    if isinstance(chosen, dict):
        sources += [
            f"regularization={key}"
            for key, node in chosen.items()
            if isinstance(node, dict) and _weighs(node)
        ]
    if not sources:
        return
    for path, node in nodes(config.get("loss"), "loss"):
        target = _outside(node)
        takes = target.attributes.get("forward") if target is not None else None
        if takes is not None and "weight" not in takes:
            yield (
                f"{path}: {node['_target_']} takes no weight in forward, but {' and '.join(sources)} weighs rows; "
                "give its forward weight=None, or leave the weights out"
            )


def _weighs(node: dict[str, Any]) -> bool:
    try:
        return bool(describe(str(node.get("_target_"))).attributes.get("weighs_rows"))
    except TargetError:
        return False
