"""Defines contrastive losses for two towers, with the other items of the batch as negatives."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from lit_mlfund.losses.arguments import check_positive, check_range, check_weight, compute_dtype
from lit_mlfund.losses.contrastive_blocks import PairLoss, dense_pair_loss
from lit_mlfund.losses.contrastive_pairs import Columns, build_pairs
from lit_mlfund.losses.gather import world_size

TEMPERATURE_RANGE = (0.01, 100.0)  # of a learned temperature; the lower end is CLIP's
MAX_DENSE_SCORES = 2**17  # up to this many scores the plain formula is faster than blocks


class _ContrastiveLoss(nn.Module):
    """Holds the options and the temperature shared by the contrastive losses."""

    tasks = ("retrieval",)
    _form: Literal["softmax", "logistic"]

    def __init__(
        self,
        temperature: float = 0.07,
        learnable_temperature: bool = False,
        symmetric: bool = False,
        chunk_size: int | None = None,
        gather: bool = True,
    ) -> None:
        super().__init__()
        _check_options(temperature, chunk_size)
        low, high = TEMPERATURE_RANGE
        if learnable_temperature and not low <= temperature <= high:
            raise ValueError(
                f"temperature: expected a learned one to start in [{low:g}, {high:g}], got {temperature!r}"
            )
        self.learnable_temperature = learnable_temperature
        self.symmetric = symmetric
        self.chunk_size = chunk_size
        self.gather = gather
        if learnable_temperature:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        else:
            self._temperature = temperature

    @property
    def temperature(self) -> float | Tensor:
        """Return the current temperature: a number, or a scalar tensor with gradient if it is learned."""
        if not self.learnable_temperature:
            return self._temperature
        low, high = TEMPERATURE_RANGE
        return self.log_temperature.clamp(math.log(low), math.log(high)).exp()

    def forward(
        self,
        query: Tensor,
        item: Tensor,
        item_id: Tensor | None = None,
        negatives: Tensor | None = None,
        log_q: Tensor | None = None,
        weight: Tensor | None = None,
        negative_id: Tensor | None = None,
        negative_log_q: Tensor | None = None,
    ) -> Tensor:
        if self.learnable_temperature:
            # A step may leave the range, where the gradient stays zero for ever: clamp it to the edge.
            with torch.no_grad():
                self.log_temperature.clamp_(*map(math.log, TEMPERATURE_RANGE))
        columns = _build_columns(query, item, item_id, negatives, log_q, weight, negative_id, negative_log_q)
        gather = self.gather and self.training
        return _pair_loss(
            self._form, query, columns, self.temperature, self.symmetric, self.chunk_size, gather
        )

    def extra_repr(self) -> str:
        names = ("learnable_temperature", "symmetric", "chunk_size", "gather")
        options = [f"{name}={getattr(self, name)}" for name in names]
        return ", ".join([f"temperature={torch.as_tensor(self.temperature).item():.4g}", *options])


class InfoNCELoss(_ContrastiveLoss):
    """Computes the cross-entropy of each query's own item against the batch's other items, on scaled cosines.

    With s_ij = cos(query_i, item_j) / temperature − log_q_j: the mean over i of log Σ_j exp s_ij − s_ii,
    where j runs over i itself and every column whose id differs.

    temperature            divides the cosines, > 0
    learnable_temperature  learn its logarithm, starting from `temperature`; clamped to [0.01, 100]
    symmetric              average with the other direction: each item's own query against the queries whose own
                           item differs (extra negatives take no part, and log_q cancels)
    chunk_size             rows of the score matrix computed at a time, None: automatic; affects memory, not values
    gather                 in training under torch.distributed, use the items of all ranks as negatives. Every rank
                           returns the value of the joint batch, and the *average over ranks* of the gradients (DDP,
                           FSDP) is its gradient. Batches may differ in size. In eval mode each rank uses its own
                           batch only, because ranks may then have different numbers of batches

    query, item            `[B, D]` embeddings, row i of both a positive pair; normalised here, so of any length
    item_id                `[B]` integers; items of equal id are never negatives of each other. None: all differ
    negatives              `[N, D]` more negatives, shared by all queries of all ranks
    log_q                  `[B]` log of the probability that the item is sampled into a batch, subtracted from all
                           of its scores, the positive's included; without it popular items are pushed down
    weight                 `[B]` >= 0; the mean is weighted by it
    negative_id            `[N]` ids of the negatives; None: no query's own item is among them
    negative_log_q         `[N]` as log_q, on the same scale; None: 0

    Computed and returned in float32 at least, also under autocast. log_q and weight get no gradient. A query
    without negatives adds 0; an empty batch gives 0. Raises ValueError for wrong shapes or dtypes, (checked on CPU
    tensors only) a log_q that is not finite or a weight below 0, options out of range, and ranks that pass
    different arguments; RuntimeError for second derivatives of a batch large enough for blocks.

    Source: van den Oord et al. 2018, eq. 4; log_q: Yi et al. 2019, section 4; symmetric: Radford et al. 2021,
    figure 3.
    """

    tasks = ("retrieval",)
    _form = "softmax"


class NCELoss(_ContrastiveLoss):
    """Computes a binary logistic loss over InfoNCELoss's pairs: target 1 for the own item, 0 for negatives.

    The mean over i of softplus(−s_ii) + Σ_j softplus(s_ij), j over the columns whose id differs; parameters
    and arguments as for InfoNCELoss. A constant in log_q does not cancel here: scores become
    log-probabilities where log_q is the log of the *number* of times that the item is expected among the
    negatives. A query without negatives keeps its positive term. `symmetric` makes a difference only with weights and
    with `negatives`, which then count half.

    Source: Gutmann & Hyvärinen 2010; summed over in-batch pairs as in Zhai et al. 2023, section 3.2.
    """

    tasks = ("retrieval",)
    _form = "logistic"


def infonce_loss(
    query: Tensor,
    item: Tensor,
    item_id: Tensor | None = None,
    negatives: Tensor | None = None,
    log_q: Tensor | None = None,
    weight: Tensor | None = None,
    negative_id: Tensor | None = None,
    negative_log_q: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.07,
    symmetric: bool = False,
    chunk_size: int | None = None,
    gather: bool = True,
) -> Tensor:
    """Compute `InfoNCELoss` as a function; a tensor `temperature` gets a gradient.

    >>> infonce_loss(torch.eye(4), torch.eye(4), temperature=1.0)  # log(1 + 3/e)
    tensor(0.7437)
    """
    columns = _build_columns(query, item, item_id, negatives, log_q, weight, negative_id, negative_log_q)
    return _pair_loss("softmax", query, columns, temperature, symmetric, chunk_size, gather)


def nce_loss(
    query: Tensor,
    item: Tensor,
    item_id: Tensor | None = None,
    negatives: Tensor | None = None,
    log_q: Tensor | None = None,
    weight: Tensor | None = None,
    negative_id: Tensor | None = None,
    negative_log_q: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.07,
    symmetric: bool = False,
    chunk_size: int | None = None,
    gather: bool = True,
) -> Tensor:
    """Compute `NCELoss` as a function; a tensor `temperature` gets a gradient.

    >>> nce_loss(torch.eye(2), torch.eye(2), temperature=1.0)  # log(1 + 1/e) + log 2
    tensor(1.0064)
    """
    columns = _build_columns(query, item, item_id, negatives, log_q, weight, negative_id, negative_log_q)
    return _pair_loss("logistic", query, columns, temperature, symmetric, chunk_size, gather)


def _pair_loss(
    form: Literal["softmax", "logistic"],
    query: Tensor,
    columns: tuple[Columns, Columns | None],
    temperature: float | Tensor,
    symmetric: bool,
    chunk_size: int | None,
    gather: bool,
) -> Tensor:
    _check_options(temperature, chunk_size)
    world = world_size() if gather else 1
    with torch.autocast(query.device.type, enabled=False):
        query, column, pairs = build_pairs(_normalize(query), *columns, world, symmetric, chunk_size)
        is_small = chunk_size is None and world == 1 and len(query) * len(column) <= MAX_DENSE_SCORES
        loss = dense_pair_loss if is_small else PairLoss.apply
        return loss(query, column, 1 / temperature, pairs, form)


def _normalize(embedding: Tensor) -> Tensor:
    """Normalise rows to length 1 in float32 at least; a zero row stays zero, with a gradient of ordinary size."""
    embedding = embedding.to(compute_dtype(embedding))
    norm = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
    return embedding / norm.masked_fill(norm == 0, 1)


def _build_columns(
    query: Tensor,
    item: Tensor,
    item_id: Tensor | None,
    negatives: Tensor | None,
    log_q: Tensor | None,
    weight: Tensor | None,
    negative_id: Tensor | None,
    negative_log_q: Tensor | None,
) -> tuple[Columns, Columns | None]:
    """Check the arguments and return the normalised items and negatives that queries are scored against."""
    if query.ndim != 2 or query.shape != item.shape:
        raise ValueError(
            "query and item: expected two tensors of one shape [B, D], "
            f"got {list(query.shape)} and {list(item.shape)}"
        )
    if negatives is not None and (negatives.ndim != 2 or negatives.shape[1] != query.shape[1]):
        raise ValueError(f"negatives: expected shape [N, {query.shape[1]}], got {list(negatives.shape)}")
    for name, embedding in (("query", query), ("item", item), ("negatives", negatives)):
        if embedding is not None and not embedding.is_floating_point():
            raise ValueError(f"{name}: expected a floating dtype, got {embedding.dtype}")
    if weight is not None:
        check_weight(weight, len(query), "pair")
    if negatives is None and (negative_id is not None or negative_log_q is not None):
        raise ValueError("negative_id and negative_log_q: expected negatives beside them, got none")
    if negative_id is not None and item_id is None:
        raise ValueError("negative_id: expected item_id to compare it with, got none")
    dtype = compute_dtype(query)

    def constant(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.detach().to(dtype)

    _check_ids_and_log_q("item_id", item_id, "log_q", log_q, len(query))
    columns = Columns(_normalize(item), item_id, constant(log_q), constant(weight))
    if negatives is None:
        return columns, None
    _check_ids_and_log_q("negative_id", negative_id, "negative_log_q", negative_log_q, len(negatives))
    return columns, Columns(_normalize(negatives), negative_id, constant(negative_log_q))


def _check_ids_and_log_q(
    id_name: str, ids: Tensor | None, log_q_name: str, log_q: Tensor | None, size: int
) -> None:
    for name, values in ((id_name, ids), (log_q_name, log_q)):
        if values is not None and values.shape != (size,):
            raise ValueError(f"{name}: expected shape [{size}], got {list(values.shape)}")
    if ids is not None and (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool):
        raise ValueError(f"{id_name}: expected integers, got {ids.dtype}")
    if log_q is not None:
        check_range(log_q_name, log_q, -torch.finfo(torch.float32).max, math.inf)


def _check_options(temperature: float | Tensor, chunk_size: int | None) -> None:
    if not isinstance(temperature, Tensor):
        check_positive("temperature", temperature)
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise ValueError(f"chunk_size: expected a whole number above 0 or None, got {chunk_size!r}")
