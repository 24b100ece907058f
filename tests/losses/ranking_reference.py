"""Ranking losses by the letter: loops in double precision, for the fast ones to be held against."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))


def ndcg_parts(s: list[float], r: list[float], k: int | None) -> tuple[list[float], list[int], float]:
    """Gains, ranks (0 first; equal scores in the order given) and the ideal DCG at k."""
    gains = [2.0**grade - 1 for grade in r]
    ranks = [sum(t > s[i] or (t == s[i] and j < i) for j, t in enumerate(s)) for i in range(len(s))]
    ideal = sum(g / math.log2(n + 2) for n, g in enumerate(sorted(gains, reverse=True)[:k]))
    return gains, ranks, ideal


def better_pairs(r: list[float]) -> list[tuple[int, int]]:
    return [(i, j) for i, j in itertools.permutations(range(len(r)), 2) if r[i] > r[j]]


def lambdarank(
    s: list[float], r: list[float], sigma: float = 1.0, k: int | None = None
) -> tuple[float, list[float]]:
    """Loss and lambdas of one query, as in LightGBM's GetGradientsForOneQuery without normalisation."""
    gains, ranks, ideal = ndcg_parts(s, r, k)
    loss, lambdas = 0.0, [0.0] * len(s)
    for i, j in better_pairs(r):
        if k is not None and min(ranks[i], ranks[j]) >= k:
            continue
        swap = abs(1 / math.log2(ranks[i] + 2) - 1 / math.log2(ranks[j] + 2))
        delta = (gains[i] - gains[j]) * swap / ideal
        loss += delta * softplus(-sigma * (s[i] - s[j]))
        push = delta * sigma * sigmoid(-sigma * (s[i] - s[j]))
        lambdas[i] -= push
        lambdas[j] += push
    return loss, lambdas


def ranknet(s: list[float], r: list[float], sigma: float = 1.0) -> tuple[float, list[float]]:
    loss, grad, pairs = 0.0, [0.0] * len(s), better_pairs(r)
    for i, j in pairs:
        loss += softplus(-sigma * (s[i] - s[j])) / len(pairs)
        push = sigma * sigmoid(-sigma * (s[i] - s[j])) / len(pairs)
        grad[i] -= push
        grad[j] += push
    return loss, grad


def pairwise_hinge(s: list[float], r: list[float], margin: float = 1.0) -> tuple[float, list[float]]:
    loss, grad, pairs = 0.0, [0.0] * len(s), better_pairs(r)
    for i, j in pairs:
        if s[i] - s[j] < margin:
            loss += (margin - s[i] + s[j]) / len(pairs)
            grad[i] -= 1 / len(pairs)
            grad[j] += 1 / len(pairs)
    return loss, grad


def listnet(s: list[float], r: list[float], temperature: float = 1.0) -> tuple[float, list[float]]:
    def softmax(x: list[float]) -> list[float]:
        top = max(x)
        total = sum(math.exp(v - top) for v in x)
        return [math.exp(v - top) / total for v in x]

    logits = [v / temperature for v in s]
    top = max(logits)
    log_total = top + math.log(sum(math.exp(v - top) for v in logits))
    target, p = softmax(r), softmax(logits)
    loss = sum(t * (log_total - v) for t, v in zip(target, logits))
    return loss, [(q - t) / temperature for q, t in zip(p, target)]


def listmle(s: list[float], r: list[float]) -> tuple[float, list[float]]:
    loss, grad = 0.0, [0.0] * len(s)
    for i in range(len(s)):
        field = [i] + [j for j in range(len(s)) if r[j] < r[i]]
        top = max(s[j] for j in field)
        total = sum(math.exp(s[j] - top) for j in field)
        loss += top + math.log(total) - s[i]
        grad[i] -= 1
        for j in field:
            grad[j] += math.exp(s[j] - top) / total
    return loss, grad


def approx_ndcg(s: list[float], r: list[float], temperature: float = 0.1) -> tuple[float, list[float]]:
    gains, _, ideal = ndcg_parts(s, r, None)
    loss, grad, n = 1.0, [0.0] * len(s), len(s)
    for i in range(n):
        chance = [sigmoid((s[j] - s[i]) / temperature) for j in range(n)]
        rank = 1 + sum(chance[j] for j in range(n) if j != i)
        loss -= gains[i] / math.log2(1 + rank) / ideal
        slope = gains[i] / ideal / math.log2(1 + rank) ** 2 / ((1 + rank) * math.log(2))
        for j in range(n):
            if j != i:
                turn = slope * chance[j] * (1 - chance[j]) / temperature
                grad[j] += turn
                grad[i] -= turn
    return loss, grad


def over_queries(
    one: Callable[..., tuple[float, list[float]]],
    scores: Tensor,
    relevance: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    **options: float | int | None,
) -> tuple[float, Tensor]:
    """Loss and gradient `[Q, L]` of a batch: the weighted mean over the queries with two different grades."""
    num_queries, length = scores.shape
    total, loss, grad = 0.0, 0.0, torch.zeros(num_queries, length, dtype=torch.float64)
    for q in range(num_queries):
        real = [d for d in range(length) if mask is None or bool(mask[q, d])]
        r = [float(relevance[q, d]) for d in real]
        if len(set(r)) < 2:
            continue
        w = 1.0 if weight is None else float(weight[q])
        total += w
        value, slope = one([float(scores[q, d]) for d in real], r, **options)
        loss += w * value
        grad[q, real] = w * torch.tensor(slope, dtype=torch.float64)
    return (loss / total, grad / total) if total else (0.0, grad)
