"""Measures the memory of each optimizer's state: takes one step, then sums the tensors in the state."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from lit_mlfund.config.catalog import Catalog
from lit_mlfund.config.instantiate import instantiate
from lit_mlfund.config.options import node_of, options
from lit_mlfund.optim import parameter_groups, state_bytes
from lit_mlfund.optim.extras import MissingExtraError
from lit_mlfund.runs.assembly.objects import optim_values

SIZE = 1024  # rows and columns of the measured parameter
KINDS = {"matrix": lambda: nn.Linear(SIZE, SIZE, bias=False), "embedding": lambda: nn.Embedding(SIZE, SIZE)}
FOOTNOTE = "bytes of state per parameter in single precision, which itself takes 4 and its gradient 4"


def bytes_per_parameter(node: dict[str, Any], model: nn.Module) -> float:
    """Measure the bytes of state per parameter of `model` after one step of the optimizer that `node` builds."""
    groups = parameter_groups(model, float(node.get("weight_decay") or 0.0))
    optimizer = instantiate(optim_values(node), params=groups)
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    return state_bytes(optimizer) / sum(parameter.numel() for parameter in parameters)


def memory_table(catalog: Catalog) -> str:
    """Format one line per optimizer: bytes per parameter by kind, and its comment, or why it was not measured."""
    rows = [("optim", *KINDS, "")]
    for option in options(catalog, "optim"):
        try:
            node: Any = OmegaConf.create(node_of(catalog, "optim", option.name))
            node = OmegaConf.to_container(node, resolve=True)
            cells = [f"{bytes_per_parameter(node, make()):.2f}" for make in KINDS.values()]
            remark = option.comment
        except MissingExtraError as error:
            cells, remark = ["-"] * len(KINDS), str(error)
        except Exception as error:  # optimizers of other packages may need something that only a run has
            cells, remark = ["-"] * len(KINDS), f"not measured: {' '.join(str(error).split())}"
        rows.append((option.name, *cells, remark))
    widths = [max(len(row[column]) for row in rows) for column in range(len(KINDS) + 1)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:])),
                row[-1],
            ]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", FOOTNOTE])
