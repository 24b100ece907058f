"""Groups parameters by weight decay and learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

NO_DECAY = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._NormBase,
)


def parameter_groups(
    model: nn.Module,
    weight_decay: float | None = 0.0,
    *,
    lr: float | None = None,
    lr_by_pattern: Mapping[str, float] | None = None,
    skip: Iterable[Tensor] = (),
) -> list[dict[str, Any]]:
    """Group trainable parameters for a torch optimizer; only weights of two or more dimensions decay.

    Biases, gains of norms and other vectors do not decay: shrinking them restricts the function without simplifying
    it; nor does what a module names in `no_decay`. Nor do embeddings: decay would also shrink rows that the batch does
    not use, and pull rare categories to zero between their occurrences.

    Args:
        model: whose `named_parameters()` are grouped; a shared parameter counts once.
        weight_decay: of the group that decays.
        lr: learning rate of the optimizer; required with `lr_by_pattern`.
        lr_by_pattern: multipliers of `lr` by shell pattern of the parameter's name, `{"*table*": 0.1}`; the first
            match applies. Raises ValueError for a pattern without matches, suggesting similar names.
        skip: parameters that belong to another optimizer; no pattern matches them.

    Returns:
        Dicts with `name` ("decay" or "no_decay", followed by a factor such as " x0.1" where the learning rate
        differs), `params` (pairs of name and parameter, from which torch sets `param_names`), `weight_decay` and,
        with `lr_by_pattern`, `lr`. Empty groups are omitted.
    """
    if weight_decay is not None and weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
    multipliers = _Multipliers(lr_by_pattern, lr)
    exempt = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, NO_DECAY) or name in getattr(module, "no_decay", ())
    }
    skipped = {id(parameter) for parameter in skip}
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or id(parameter) in skipped:
            continue
        multiplier = multipliers.of(name)
        decays = parameter.ndim >= 2 and id(parameter) not in exempt
        key = ("decay" if decays else "no_decay") + ("" if multiplier == 1 else f" x{multiplier:g}")
        if key not in groups:
            groups[key] = {"name": key, "params": []}
            if weight_decay is not None or not decays:
                groups[key]["weight_decay"] = weight_decay if decays else 0.0
            if multipliers.by_pattern and lr is not None:
                groups[key]["lr"] = lr * multiplier
        groups[key]["params"].append((name, parameter))
    multipliers.check_used(name for group in groups.values() for name, _ in group["params"])
    return list(groups.values())


class _Multipliers:
    """Looks up the factor of the learning rate by name of the parameter; the first pattern that matches counts."""

    def __init__(self, by_pattern: Mapping[str, float] | None, lr: float | None):
        self.by_pattern = dict(by_pattern or {})
        self.unused = set(self.by_pattern)
        if self.by_pattern and lr is None:
            raise ValueError("lr_by_pattern multiplies lr, which is missing")
        for pattern, multiplier in self.by_pattern.items():
            if not 0 <= multiplier < float("inf"):
                raise ValueError(
                    f"lr_by_pattern: the factor of {pattern} must not be negative, got {multiplier}"
                )

    def of(self, name: str) -> float:
        """Return the factor for a parameter."""
        matching = [pattern for pattern in self.by_pattern if fnmatchcase(name, pattern)]
        self.unused.difference_update(matching)
        return self.by_pattern[matching[0]] if matching else 1.0

    def check_used(self, names: Iterable[str]) -> None:
        """Raise ValueError for patterns that matched no parameter, with names that are similar."""
        if self.unused:
            known = list(names)
            raise ValueError(
                "lr_by_pattern: no trainable parameter matches "
                + ", ".join(
                    f"{pattern} (there are {_similar_names(pattern, known)})"
                    for pattern in sorted(self.unused)
                )
            )


def scale_rates(params: Iterable[Any], lr: float, lr_by_pattern: Mapping[str, float] | None) -> list[Any]:
    """Split named parameters into groups by their learning rates, as `parameter_groups` does; else return `params`.

    Args:
        params: (name, parameter) pairs, or groups of them.
        lr: learning rate that the factors multiply.
        lr_by_pattern: factors by shell pattern of the name.

    Raises:
        ValueError: parameters without names, or a pattern that matches none.
    """
    if not lr_by_pattern:
        return list(params)
    multipliers = _Multipliers(lr_by_pattern, lr)
    split: list[dict[str, Any]] = []
    names: list[str] = []
    for group in as_groups(params):
        parts: dict[float, list[Any]] = {}
        for entry in group["params"]:
            if not isinstance(entry, tuple):
                raise ValueError("lr_by_pattern needs names: pass (name, parameter) pairs, or groups of them")
            names.append(entry[0])
            parts.setdefault(multipliers.of(entry[0]), []).append(entry)
        for multiplier, entries in parts.items():
            scaled = {**group, "params": entries, "lr": group.get("lr", lr) * multiplier}
            if "name" in group and multiplier != 1:
                scaled["name"] = f"{group['name']} x{multiplier:g}"
            split.append(scaled)
    multipliers.check_used(names)
    return split


def _similar_names(pattern: str, names: list[str], limit: int = 4) -> str:
    """List the names that `pattern` may have been meant to match, or the first names if none is similar."""
    word = pattern.strip("*?.")
    parts = get_close_matches(word, {part for name in names for part in [name, *name.split(".")]}, n=1)
    similar = [name for name in names if any(part == name or part in name.split(".") for part in parts)]
    similar = similar or names
    return ", ".join(similar[:limit]) + (", …" if len(similar) > limit else "")


def as_groups(params: Iterable[Any]) -> list[dict[str, Any]]:
    """Convert parameters, named parameters or groups, as torch optimizers accept them, to a list of new groups."""
    entries = list(params)
    if entries and isinstance(entries[0], dict):
        return [{**group, "params": list(group["params"])} for group in entries]
    return [{"params": entries}]
