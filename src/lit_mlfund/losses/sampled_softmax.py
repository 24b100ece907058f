"""Estimates the softmax cross-entropy over many classes from a sample of them."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses.arguments import check_classes, check_output, compute_dtype
from lit_mlfund.losses.reduction import PointwiseLoss, Reduction, reduce

Distribution = Literal["uniform", "log_uniform"]


class SampledSoftmaxLoss(PointwiseLoss):
    """Computes a cross-entropy whose sum over K classes is estimated from one sample of classes per batch.

    In training the loss is log(exp s_y + Σ_c exp(s_c − log(n·q_c))) − s_y over n draws c from q, with replacement,
    leaving out draws of y itself: the sum is an unbiased estimate of that of the softmax. In eval mode, and for
    n >= K, it is the plain cross-entropy.

    num_samples   n >= 1 draws
    distribution  q: uniform, or log_uniform (Zipf: q_c ∝ log((c + 2)/(c + 1))) for classes in order of
                  falling frequency
    logits        `[B, K]` floating, K >= 2
    target        `[B]` integer classes 0 … K − 1
    weight        `[B]` >= 0, one per example; the mean is weighted by it
    reduction     mean: a scalar; none: losses `[B]`, each times its weight

    Samples are drawn from torch's default generator of the logits' device. This class takes the logits of all classes
    and spares only their softmax; to compute the sampled logits alone, use `sampled_softmax`. For two towers,
    InfoNCELoss with `negatives` and `log_q` is this loss. Raises ValueError as CrossEntropyLoss does.

    Source: Bengio & Sénécal 2008; Jean et al. 2015, eq. 8-10, with the target's term exact.
    """

    tasks = ("multiclass",)

    def __init__(
        self, num_samples: int = 100, distribution: Distribution = "uniform", *, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction)
        _check_options(num_samples, distribution)
        self.num_samples = num_samples
        self.distribution = distribution

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        num_samples = self.num_samples if self.training else logits.shape[-1]
        return sampled_softmax_loss(
            logits,
            target,
            weight,
            num_samples=num_samples,
            distribution=self.distribution,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return f"num_samples={self.num_samples}, distribution={self.distribution}"


def sampled_softmax_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    num_samples: int = 100,
    distribution: Distribution = "uniform",
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute `SampledSoftmaxLoss` in training mode as a function."""
    _check_options(num_samples, distribution)
    logits = check_output("logits", logits, (2,))
    target = check_classes(logits, target)
    num_classes = logits.shape[1]
    if num_samples >= num_classes:
        return reduce(F.cross_entropy(logits, target, reduction="none"), weight, reduction)
    sample, log_count = sample_classes(num_classes, num_samples, distribution, device=logits.device)
    own = logits.gather(1, target[:, None]).squeeze(1)
    sampled_logits = logits.index_select(1, sample)
    return sampled_softmax(own, sampled_logits, target, sample, log_count, weight, reduction=reduction)


def sample_classes(
    num_classes: int,
    num_samples: int,
    distribution: Distribution = "uniform",
    *,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Draw classes `[S]` with replacement; return them and the log `[S]` of each one's expected count."""
    _check_options(num_samples, distribution)
    if distribution == "uniform":
        sample = torch.randint(num_classes, (num_samples,), device=device)
        return sample, torch.full((num_samples,), math.log(num_samples / num_classes), device=device)
    # q_c = log((c + 2)/(c + 1)) / log(K + 1) has the cumulative distribution log(c + 2) / log(K + 1)
    uniform = torch.rand(num_samples, dtype=torch.float64, device=device)
    sample = (uniform * math.log(num_classes + 1)).exp().long().sub_(1).clamp_(0, num_classes - 1)
    q = (1 / (sample + 1)).log1p() / math.log(num_classes + 1)
    return sample, (num_samples * q).log().float()


def sampled_softmax(
    own_logit: Tensor,
    sampled_logits: Tensor,
    target: Tensor,
    sample: Tensor,
    log_count: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute the loss from the logits that it needs, for a classifier with too many classes to compute all.

    own_logit       `[B]` logit of each example's target
    sampled_logits  `[B, S]` logits of the sampled classes
    target          `[B]` classes
    sample          `[S]` classes and log_count `[S]`, from `sample_classes`
    reduction       mean: a scalar; none: losses `[B]`, each times its weight

    >>> hidden, table, target = torch.randn(8, 16), torch.randn(10**5, 16), torch.randint(10**5, (8,))
    >>> sample, log_count = sample_classes(10**5, 100)
    >>> own_logit, sampled_logits = (hidden * table[target]).sum(1), hidden @ table[sample].T
    >>> sampled_softmax(own_logit, sampled_logits, target, sample, log_count).shape
    torch.Size([])
    """
    shapes = {
        "own_logit": (own_logit, target.shape),
        "sampled_logits": (sampled_logits, (*target.shape, *sample.shape)),
        "log_count": (log_count, sample.shape),
    }
    for name, (tensor, shape) in shapes.items():
        if tensor.shape != shape:
            raise ValueError(f"{name}: expected shape {list(shape)}, got {list(tensor.shape)}")
    own_logit = own_logit.to(compute_dtype(own_logit))
    sampled_logits = sampled_logits.to(own_logit.dtype) - log_count.to(own_logit.dtype)
    sampled_logits = sampled_logits.masked_fill(target[:, None] == sample, -math.inf)
    candidates = torch.cat((own_logit[:, None], sampled_logits), 1)
    return reduce(candidates.logsumexp(1) - own_logit, weight, reduction)


def _check_options(num_samples: int, distribution: str) -> None:
    if not isinstance(num_samples, int) or num_samples < 1:
        raise ValueError(f"num_samples: expected a whole number above 0, got {num_samples!r}")
    if distribution not in ("uniform", "log_uniform"):
        raise ValueError(f"distribution: expected uniform or log_uniform, got {distribution!r}")
