import math

import pytest
import torch
from ranking_cases import LOSSES, lists

from lit_mlfund import losses

every_loss = pytest.mark.parametrize("name", LOSSES)

BAD = {
    "scores int": (lambda s, r, m: (s.long(), r, m), "scores: expected a floating dtype, got torch.int64"),
    "scores flat": (lambda s, r, m: (s[0], r[0], m[0]), r"scores: expected shape \[Q, L\], got \[11\]"),
    "shapes": (
        lambda s, r, m: (s, r[:, :4], m),
        r"relevance: expected shape \[5, 11\] like scores, got \[5, 4\]",
    ),
    "below zero": (
        lambda s, r, m: (s, r - 4 * m.long(), m),
        "relevance: expected values of at least 0.*got -4",
    ),
    "nan": (lambda s, r, m: (s, r.double().masked_fill(m, math.nan), m), "relevance: .*got nan"),
    "inf": (lambda s, r, m: (s, r.double().masked_fill(m, math.inf), m), "relevance: .*got inf"),
    "mask shape": (
        lambda s, r, m: (s, r, m[:4]),
        r"mask: expected shape \[5, 11\] like scores, got \[4, 11\]",
    ),
    "mask dtype": (lambda s, r, m: (s, r, m.long()), "mask: expected dtype torch.bool, got torch.int64"),
    "weight": (
        lambda s, r, m: (s, r, m, torch.ones(5, 11)),
        r"weight: expected shape \[5\], one per query, got",
    ),
    "weight < 0": (
        lambda s, r, m: (s, r, m, -torch.ones(5)),
        "weight: expected values of at least 0.*got -1",
    ),
}


@every_loss
@pytest.mark.parametrize("case", BAD)
def test_bad_tensors(name, case):
    function, _, _, options = LOSSES[name]
    spoil, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        function(*spoil(*lists("padded")), **options)


@pytest.mark.parametrize(
    ("module", "function", "option", "values"),
    [
        (losses.RankNetLoss, losses.ranknet_loss, "sigma", (0, -1.0, math.nan, math.inf)),
        (losses.LambdaRankLoss, losses.lambdarank_loss, "sigma", (0, -1.0, math.nan)),
        (losses.LambdaRankLoss, losses.lambdarank_loss, "k", (0, -3, 2.0, True)),
        (losses.PairwiseHingeLoss, losses.pairwise_hinge_loss, "margin", (0, -1.0)),
        (losses.ListNetLoss, losses.listnet_loss, "temperature", (0, -1.0)),
        (losses.ApproxNDCGLoss, losses.approx_ndcg_loss, "temperature", (0, -1.0)),
    ],
)
def test_bad_options(module, function, option, values):
    for value in values:
        for call in (lambda v: module(**{option: v}), lambda v: function(*lists("padded"), **{option: v})):
            with pytest.raises(ValueError, match=f"^{option}: expected .* got {value!r}$"):
                call(value)
