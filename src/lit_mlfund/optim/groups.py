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
    weight_decay: float = 0.0,
    *,
    lr: float | None = None,
    lr_by_pattern: Mapping[str, float] | None = None,
    skip: Iterable[Tensor] = (),
) -> list[dict[str, Any]]:
    """Group trainable parameters for a torch optimizer; only weights of two or more dimensions decay.

    Biases, gains of norms and other vectors do not decay: shrinking them restricts the function without simplifying
    it. Nor do embeddings: decay would also shrink rows that the batch does not use, and pull rare categories to zero
    between their occurrences.

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
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
    multipliers = dict(lr_by_pattern or {})
    if multipliers and lr is None:
        raise ValueError("lr_by_pattern multiplies lr, which is missing")
    for pattern, multiplier in multipliers.items():
        if not 0 <= multiplier < float("inf"):
            raise ValueError(f"lr_by_pattern: the factor of {pattern} must not be negative, got {multiplier}")
    exempt = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, NO_DECAY)
        for parameter in module.parameters(recurse=False)
    }
    skipped = {id(parameter) for parameter in skip}
    groups: dict[str, dict[str, Any]] = {}
    unused = set(multipliers)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or id(parameter) in skipped:
            continue
        matching = [pattern for pattern in multipliers if fnmatchcase(name, pattern)]
        unused.difference_update(matching)
        multiplier = multipliers[matching[0]] if matching else 1.0
        decays = parameter.ndim >= 2 and id(parameter) not in exempt
        key = ("decay" if decays else "no_decay") + ("" if multiplier == 1 else f" x{multiplier:g}")
        if key not in groups:
            groups[key] = {"name": key, "params": [], "weight_decay": weight_decay if decays else 0.0}
            if multipliers and lr is not None:
                groups[key]["lr"] = lr * multiplier
        groups[key]["params"].append((name, parameter))
    if unused:
        names = [name for group in groups.values() for name, _ in group["params"]]
        raise ValueError(
            "lr_by_pattern: no trainable parameter matches "
            + ", ".join(
                f"{pattern} (there are {_similar_names(pattern, names)})" for pattern in sorted(unused)
            )
        )
    return list(groups.values())


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
