"""Encodes a dict of named tensors as one vector, the first stage of most models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_mlfund.models.numeric import NumericEmbedding, PiecewiseLinearEmbedding, check_kind, embed_numbers
from lit_mlfund.models.sharded_table import ShardedTable

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec, Field


def table_width(cardinalities: Sequence[int], max_width: int = 16) -> int:
    """Return an embedding width, `min(max_width, ceil(1.6 n^0.56))` for the largest cardinality n.

    The exponent is fast.ai's rule of thumb; the cap is ours, since all columns share the table.
    """
    return min(max_width, math.ceil(1.6 * max(cardinalities) ** 0.56))


class CategoricalEmbedding(nn.Module):
    """Embeds codes `[..., C]` as vectors `[..., C, dim]`, with one table and one lookup for all columns.

    Row 0 of each column (unknown or missing) starts at zero and contributes nothing until it is trained;
    `code_dropout`, the probability that a code is replaced by 0 in training, trains it. The other rows start
    small (`std`) compared with standardised numbers: rows of rare categories stay near their initial values, which
    must not drown out what the model has learned.
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
        self.rand: Callable[..., Tensor] = torch.rand  # replaced where several processes share a batch
        self.register_buffer("offsets", starts[:-1], persistent=False)
        self.table = nn.Embedding(sum(cardinalities), dim)
        nn.init.normal_(self.table.weight, std=std)
        with torch.no_grad():
            self.table.weight[starts[:-1]] = 0.0

    def forward(self, codes: Tensor) -> Tensor:
        if self.training and self.code_dropout > 0:
            codes = codes * (self.rand(codes.shape, device=codes.device) >= self.code_dropout)
        return self.table(codes + self.offsets)


class TokenBag(nn.Module):
    """Sums the embeddings of the n non-zero ids of `[..., T]` and divides by √n: `[..., dim]`, zeros if n = 0.

    For independent vectors this, unlike the sum or the mean, has the same length for 10 tokens as for 1000.
    `table` is shared with another module and has the row of id 0 at `offset`; None creates one. Its rows start
    small (`std` per coordinate), so that tokens that never occur in training have little influence.
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
            mask = (ids != 0).unsqueeze(-1)
            return (self.table(ids + self.offset) * mask).sum(-2) / mask.sum(-2).clamp(min=1).sqrt()
        bags = ids.flatten(0, -2) + self.offset
        mean = F.embedding_bag(
            bags, self.table.weight, mode="mean", sparse=self.table.sparse, padding_idx=self.offset
        )
        length = (ids != 0).sum(-1, keepdim=True).to(mean.dtype)
        return mean.unflatten(0, ids.shape[:-1]) * length.sqrt()


class InputEncoder(nn.Module):
    """Encodes a dict of tensors `[..., *field.shape]` as one vector `[..., dim]`, for any leading dimensions.

    Numeric columns are passed through, or embedded as `numeric_embedding` says: by waves (`PeriodicEmbedding` of scale
    `frequency_scale`, `periodic_linear` without its ReLU) or by bins (`PiecewiseLinearEmbedding`). Images are
    flattened, each categorical column is embedded (width `embedding_dim`, None for `table_width`), and tokens become
    one `TokenBag` of width `token_dim`. `encoders` supplies modules for individual fields, for tables that two
    encoders share. Names in `x` without a field are ignored.

    `widths` has the number of outputs of each input column, in the order of the outputs.
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
        check_kind(numeric_embedding)
        self.kinds = {name: field.kind for name, field in fields.items()}
        self.encoders = nn.ModuleDict()
        self.widths: list[int] = []
        module: Any
        for name, field in fields.items():
            if encoders is not None and name in encoders:
                module = encoders[name]
            elif field.kind == "categorical":
                width = embedding_dim or table_width(field.cardinalities)
                module = CategoricalEmbedding(field.cardinalities, width, code_dropout=code_dropout)
            elif field.kind == "tokens":
                module = TokenBag(field.cardinalities[0], token_dim)
            elif field.kind == "numeric":
                module = embed_numbers(numeric_embedding, field.shape[0], frequency_scale)
            else:
                module = None
            if module is None:
                self.widths += [1] * math.prod(field.shape)
                continue
            self.encoders[name] = module
            columns = 1 if field.kind == "tokens" else field.shape[0]
            self.widths += [module.dim if field.kind == "numeric" else module.table.embedding_dim] * columns
        self.dim = sum(self.widths)

    @property
    def fitted(self) -> bool:
        """Return whether no embedding waits for training rows (`fit`)."""
        return all(bool(getattr(module, "fitted", True)) for module in self.encoders.values())

    def fit(self, x: Mapping[str, Tensor]) -> None:
        """Fit the embeddings of numbers that follow the distribution of training rows, `x[name] [N, …]`."""
        for name, module in self.encoders.items():
            if isinstance(module, PiecewiseLinearEmbedding):
                module.fit(x[name])

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for name, kind in self.kinds.items():
            value = x[name]
            if name in self.encoders:
                value = self.encoders[name](value)
                if kind != "tokens":  # one vector per column
                    value = value.flatten(-2)
            elif kind == "image":
                value = value.flatten(-3)
            parts.append(value)
        return torch.cat(parts, dim=-1)


def check_spec(model: Any, spec: DataSpec) -> None:
    """Raise ValueError unless `model` supports the spec's task and all of its inputs."""
    name = type(model).__name__
    if spec.task not in model.tasks:
        raise ValueError(f"{name} does not support task {spec.task!r}, only {', '.join(model.tasks)}")
    if not spec.inputs:
        raise ValueError(f"{name} got data without inputs")
    for field_name, field in (*spec.inputs.items(), *spec.items.items()):
        if field.kind not in model.inputs:
            raise ValueError(
                f"{name} cannot read the {field.kind} input {field_name!r}, only {', '.join(model.inputs)}"
            )


def only_field(model: Any, spec: DataSpec, kind: str) -> str:
    """Return the name of the only input; raise ValueError unless there is exactly one and it is of this kind."""
    check_spec(model, spec)
    if len(spec.inputs) != 1 or next(iter(spec.inputs.values())).kind != kind:
        actual = ", ".join(f"{name} ({field.kind})" for name, field in spec.inputs.items())
        raise ValueError(f"{type(model).__name__} needs exactly one {kind} input; the data has {actual}")
    return next(iter(spec.inputs))


def check_fraction(name: str, value: float) -> None:
    """Raise ValueError unless `0 <= value < 1`."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")
