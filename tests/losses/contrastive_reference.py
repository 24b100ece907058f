"""The contrastive losses as plain B×B formulas with autograd: what the blocked ones are held against."""

import torch
import torch.nn.functional as F


def scores_and_mask(
    query,
    item,
    item_id=None,
    negatives=None,
    log_q=None,
    negative_id=None,
    negative_log_q=None,
    *,
    temperature,
):
    """`[B, B+N]` scores, and True where a pair counts."""
    columns = item if negatives is None else torch.cat((item, negatives))
    scores = F.normalize(query, dim=1) @ F.normalize(columns, dim=1).T / temperature
    batch, extra = len(query), len(columns) - len(item)
    offset = scores.new_zeros(batch + extra)
    if log_q is not None:
        offset[:batch] = log_q
    if negative_log_q is not None:
        offset[batch:] = negative_log_q
    counts = torch.ones(batch, batch + extra, dtype=torch.bool)
    if item_id is not None:
        counts[:, :batch] = (item_id[:, None] != item_id) | torch.eye(batch, dtype=torch.bool)
    if negative_id is not None:
        counts[:, batch:] = item_id[:, None] != negative_id
    return scores - offset, counts


def dense_info_nce(query, item, *, weight=None, symmetric=False, temperature=0.07, **columns):
    scores, counts = scores_and_mask(query, item, temperature=temperature, **columns)
    batch = len(query)
    scores = scores.masked_fill(~counts, -torch.inf)
    own = torch.arange(batch)
    weight = torch.ones(batch, dtype=scores.dtype) if weight is None else weight.to(scores.dtype)
    loss = (weight * F.cross_entropy(scores, own, reduction="none")).sum() / weight.sum()
    if symmetric:
        back = F.cross_entropy(scores[:, :batch].T, own, reduction="none")
        loss = (loss + (weight * back).sum() / weight.sum()) / 2
    return loss


def dense_nce(query, item, *, weight=None, symmetric=False, temperature=0.07, **columns):
    scores, counts = scores_and_mask(query, item, temperature=temperature, **columns)
    batch = len(query)
    target = torch.eye(batch, scores.shape[1], dtype=scores.dtype)
    cost = F.binary_cross_entropy_with_logits(scores, target, reduction="none") * counts
    weight = torch.ones(batch, dtype=scores.dtype) if weight is None else weight.to(scores.dtype)
    loss = (weight * cost.sum(1)).sum() / weight.sum()
    if symmetric:
        loss = (loss + (weight * cost[:, :batch].sum(0)).sum() / weight.sum()) / 2
    return loss
