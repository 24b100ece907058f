"""Builds small specs of every shape, and inputs for them."""

from __future__ import annotations

import torch
from torch import Tensor

from lit_mlfund.data.serving.spec import DataSpec, Field, Task

NUMERIC = Field("numeric", (3,))
CATEGORICAL = Field("categorical", (2,), cardinalities=(5, 7))
TOKENS = Field("tokens", (6,), cardinalities=(11,))
IMAGE = Field("image", (2, 8, 8))
SEQUENCE = Field("sequence", (6,), cardinalities=(4,))  # as many as there are classes
FIELDS = {"numeric": NUMERIC, "categorical": CATEGORICAL, "tokens": TOKENS, "image": IMAGE}


def make_spec(task: Task, *kinds: str, items: tuple[str, ...] = ()) -> DataSpec:
    classes = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c", "d")}.get(task, ())
    known = {**FIELDS, "sequence": SEQUENCE}
    return DataSpec(
        task, {kind: known[kind] for kind in kinds}, {kind: known[kind] for kind in items}, classes
    )


def make_inputs(fields: dict[str, Field], *leading: int, seed: int = 0) -> dict[str, Tensor]:
    """Draw random valid inputs; token rows are right-padded, some entirely."""
    generator = torch.Generator().manual_seed(seed)
    x = {}
    for name, field in fields.items():
        shape = (*leading, *field.shape)
        if field.kind == "categorical":
            codes = [torch.randint(n, (*leading, 1), generator=generator) for n in field.cardinalities]
            x[name] = torch.cat(codes, dim=-1)
        elif field.kind == "sequence":
            x[name] = torch.randint(field.cardinalities[0], shape, generator=generator)
        elif field.kind == "tokens":
            ids = torch.randint(1, field.cardinalities[0], shape, generator=generator)
            length = torch.randint(0, field.shape[0] + 1, (*leading, 1), generator=generator)
            x[name] = ids * (torch.arange(field.shape[0]) < length)
        else:
            x[name] = torch.randn(shape, generator=generator)
    return x
