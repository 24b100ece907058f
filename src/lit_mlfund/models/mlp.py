"""Defines a fully connected network for all kinds of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from lit_mlfund.models.heads import Head
from lit_mlfund.models.inputs import InputEncoder, check_fraction, check_spec
from lit_mlfund.models.numeric import NumericEmbedding

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec

Activation = Literal["relu", "gelu", "silu", "tanh"]
Norm = Literal["none", "layer"]
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class MLP(nn.Module):
    """Applies fully connected layers to embedded inputs: the first model to try on tabular data.

    Each hidden layer is linear, `norm`, activation, dropout. Categories are embedded (width `embedding_dim`, None
    for the rule of `table_width`) and tokens summed (`TokenBag`). `code_dropout` masks that share of the categories
    in training, so that unknown categories have a trained embedding. With `hidden=[]` and tokens it is the fastText
    classifier (Joulin et al. 2016, arXiv 1607.01759).

    `x[name] [..., *field.shape]` -> `[..., K]` for multi-class data, `[...]` otherwise. Ignores `mask`: each
    document of a list is scored independently.
    """

    tasks = ("binary", "multiclass", "regression", "ranking")
    inputs = ("numeric", "categorical", "tokens", "image")

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: tuple[int, ...] = (128, 64),
        dropout: float = 0.1,
        activation: Activation = "relu",
        norm: Norm = "none",
        embedding_dim: int | None = None,
        token_dim: int = 64,
        code_dropout: float = 0.0,
        numeric_embedding: NumericEmbedding = "none",
        frequency_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_spec(self, spec)
        self.encoder = InputEncoder(
            spec.inputs,
            embedding_dim=embedding_dim,
            token_dim=token_dim,
            code_dropout=code_dropout,
            numeric_embedding=numeric_embedding,
            frequency_scale=frequency_scale,
        )
        self.body = hidden_layers(self.encoder.dim, hidden, dropout=dropout, activation=activation, norm=norm)
        self.head = Head(hidden[-1] if hidden else self.encoder.dim, spec)

    def forward(self, x: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        return self.head(self.body(self.encoder(x)))


def hidden_layers(
    in_features: int,
    hidden: Sequence[int],
    *,
    dropout: float = 0.0,
    activation: Activation = "relu",
    norm: Norm = "none",
) -> nn.Sequential:
    """Stack linear, norm, activation and dropout for each width: `[..., in_features]` -> `[..., hidden[-1]]`."""
    check_fraction("dropout", dropout)
    check_layers(hidden, activation)
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(in_features, width))
        if norm == "layer":
            layers.append(nn.LayerNorm(width))
        elif norm != "none":
            raise ValueError(f"norm must be none or layer, got {norm!r}")
        layers.append(ACTIVATIONS[activation]())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        in_features = width
    return nn.Sequential(*layers)


def check_layers(hidden: Sequence[int], activation: str) -> None:
    """Raise ValueError unless `hidden` are widths of layers and `activation` is one of `ACTIVATIONS`."""
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden must be positive layer widths, got {list(hidden)}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
