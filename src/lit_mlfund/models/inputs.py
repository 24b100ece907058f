"""From a dict of named tensors to one vector: what most models start with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_mlfund.models.numeric import NumericEmbedding, PeriodicEmbedding
from lit_mlfund.models.sharded_table import ShardedTable

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec, Field

VALUE_DIMS = {"numeric": 1, "categorical": 1, "tokens": 1, "image": 3}  # trailing dimensions of one value


def table_width(cardinalities: Sequence[int], largest: int = 16) -> int:
    """Width of an embedding table: `min(largest, ceil(1.6 n^0.56))` for n, the largest cardinality in it.

    The exponent is fast.ai's rule of thumb; the cap is ours: all columns share the table.
    """
    return min(largest, math.ceil(1.6 * max(cardinalities) ** 0.56))


class CategoricalEmbedding(nn.Module):
    """Codes `[..., C]` to vectors `[..., C, dim]`, all columns in one table: one lookup instead of C.

    A column's row 0 (unknown or missing) starts at zero and so adds nothing until training shows it;
    `code_dropout` is the chance that a code is replaced by 0 in training, which does. The other rows start
    small beside standardised numbers (`std`): rows of rare categories stay about where they started, and must
    not be louder than what the model has learned.
    """

    offsets: Tensor
    table: nn.Embedding | ShardedTable

    def __init__(
        self, cardinalities: Sequence[int], dim: int, *, std: float = 0.1, code_dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_fraction("code_dropout", code_dropout)
        starts = torch.tensor([0, *cardinalities]).cumsum(0)
        self.code_dropout = code_dropout
        self.register_buffer("offsets", starts[:-1], persistent=False)
        self.table = nn.Embedding(sum(cardinalities), dim)
        nn.init.normal_(self.table.weight, std=std)
        with torch.no_grad():
            self.table.weight[starts[:-1]] = 0.0

    def forward(self, codes: Tensor) -> Tensor:
        if self.training and self.code_dropout > 0:
            codes = codes * (torch.rand(codes.shape, device=codes.device) >= self.code_dropout)
        return self.table(codes + self.offsets)


class TokenBag(nn.Module):
    """Sum of the vectors of the n non-zero ids of `[..., T]`, divided by √n: `[..., dim]`, zeros if n = 0.

    Of independent vectors, neither the sum nor the mean but this is as long for 10 tokens as for 1000.
    `table` is shared with another module, in which `offset` is the row of id 0; None makes one. Its rows start
    small (`std` per coordinate), so that tokens which training never shows say little.
    """

    table: nn.Embedding | ShardedTable

    def __init__(
        self,
        vocabulary: int,
        dim: int,
        *,
        std: float = 0.03,
        table: nn.Embedding | ShardedTable | None = None,
        offset: int = 0,
    ) -> None:
        super().__init__()
        if table is None:
            table = nn.Embedding(vocabulary, dim)
            nn.init.normal_(table.weight, std=std)
        self.table = table
        self.offset = offset

    def forward(self, ids: Tensor) -> Tensor:
        if isinstance(self.table, ShardedTable):
            shown = (ids != 0).unsqueeze(-1)
            return (self.table(ids + self.offset) * shown).sum(-2) / shown.sum(-2).clamp(min=1).sqrt()
        bags = ids.flatten(0, -2) + self.offset
        mean = F.embedding_bag(
            bags, self.table.weight, mode="mean", sparse=self.table.sparse, padding_idx=self.offset
        )
        length = (ids != 0).sum(-1, keepdim=True).to(mean.dtype)
        return mean.unflatten(0, ids.shape[:-1]) * length.sqrt()


class InputEncoder(nn.Module):
    """One vector `[..., dim]` from a dict of tensors `[..., *field.shape]`, whatever the leading dimensions.

    Numeric columns pass through, or with `numeric_embedding` periodic a `PeriodicEmbedding` of scale
    `frequency_scale`; images are flattened, each categorical column is embedded (width `embedding_dim`, None
    for `table_width`), tokens become one bag (`token_dim`). `encoders` gives the modules of single fields, for
    tables that two encoders share. Names of `x` that no field has are ignored.
    """

    def __init__(
        self,
        fields: Mapping[str, Field],
        *,
        embedding_dim: int | None = None,
        token_dim: int = 64,
        code_dropout: float = 0.0,
        numeric_embedding: NumericEmbedding = "none",
        frequency_scale: float = 1.0,
        encoders: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if embedding_dim is not None and embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, got {embedding_dim}")
        if token_dim < 1:
            raise ValueError(f"token_dim must be at least 1, got {token_dim}")
        if numeric_embedding not in ("none", "periodic"):
            raise ValueError(f"numeric_embedding must be none or periodic, got {numeric_embedding!r}")
        self.kinds = {name: field.kind for name, field in fields.items()}
        self.encoders = nn.ModuleDict()
        self.dim = 0
        module: Any
        for name, field in fields.items():
            if encoders is not None and name in encoders:
                module = encoders[name]
            elif field.kind == "categorical":
                width = embedding_dim or table_width(field.cardinalities)
                module = CategoricalEmbedding(field.cardinalities, width, code_dropout=code_dropout)
            elif field.kind == "tokens":
                module = TokenBag(field.cardinalities[0], token_dim)
            elif field.kind == "numeric" and numeric_embedding == "periodic":
                module = PeriodicEmbedding(field.shape[0], scale=frequency_scale)
                self.dim += field.shape[0] * module.dim
                self.encoders[name] = module
                continue
            else:
                self.dim += math.prod(field.shape)
                continue
            columns = len(field.cardinalities) if field.kind == "categorical" else 1
            self.dim += columns * module.table.embedding_dim
            self.encoders[name] = module

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for name, kind in self.kinds.items():
            value = x[name]
            if name in self.encoders:
                value = self.encoders[name](value)
                if kind != "tokens":  # a vector per column
                    value = value.flatten(-2)
            elif kind == "image":
                value = value.flatten(-3)
            parts.append(value)
        return torch.cat(parts, dim=-1)


def check_spec(model: Any, spec: DataSpec) -> None:
    """`ValueError` unless `model` does the spec's task and reads all of its inputs."""
    name = type(model).__name__
    if spec.task not in model.tasks:
        raise ValueError(f"{name} is no model for task {spec.task!r}; it does {', '.join(model.tasks)}")
    if not spec.inputs:
        raise ValueError(f"{name} got data without inputs")
    for field_name, field in (*spec.inputs.items(), *spec.items.items()):
        if field.kind not in model.inputs:
            raise ValueError(
                f"{name} cannot read the {field.kind} input {field_name!r}, only {', '.join(model.inputs)}"
            )


def only_field(model: Any, spec: DataSpec, kind: str) -> str:
    """Name of the one input, which must be of this kind; `ValueError` if there is another or none."""
    check_spec(model, spec)
    if len(spec.inputs) != 1 or next(iter(spec.inputs.values())).kind != kind:
        have = ", ".join(f"{name} ({field.kind})" for name, field in spec.inputs.items())
        raise ValueError(f"{type(model).__name__} needs exactly one {kind} input; the data has {have}")
    return next(iter(spec.inputs))


def check_fraction(name: str, value: float) -> None:
    """`ValueError` unless `0 <= value < 1`."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")
