"""Scales of a target: against numpy, scipy and the definition of the smearing estimate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.losses import MAELoss, PoissonLoss
from lit_mlfund.modules import RegressionModule
from lit_mlfund.modules.steps.target_scale import TargetScale, skewness

SPEC = DataSpec("regression", {"numeric": Field("numeric", (1,))})
Y = np.exp(np.random.default_rng(0).normal(2, 1.5, 501)).astype("float32")


@pytest.mark.parametrize(("y", "offset"), [(Y, 0.0), (np.where(Y < 1, 0, Y).astype("float32"), 1.0)])
def test_logarithms(y: np.ndarray, offset: float) -> None:
    scale = TargetScale.fit("log", torch.from_numpy(y))
    logs = np.log(y.astype(float) + offset)
    assert scale.offset == offset
    inside = scale.to_loss(torch.from_numpy(y))
    assert inside.numpy() == pytest.approx((logs - logs.mean()) / logs.std(), abs=1e-5)
    assert scale.to_unit(inside).numpy() == pytest.approx(y, rel=1e-4, abs=1e-5)
    plain = TargetScale.fit("log", torch.from_numpy(y), standardize=False)
    assert plain.to_loss(torch.from_numpy(y)).numpy() == pytest.approx(logs, abs=1e-5)


def test_quantiles_are_normal_and_invertible() -> None:
    y = np.concatenate([Y, np.zeros(99, dtype="float32"), -Y[:50]])
    scale = TargetScale.fit("quantile", torch.from_numpy(y))
    inside = scale.to_loss(torch.from_numpy(y))
    expected = stats.norm.ppf((stats.rankdata(y) - 0.5) / len(y))  # equal values share their mean rank
    assert inside.numpy() == pytest.approx(expected, abs=1e-6)
    assert scale.to_unit(inside).numpy() == pytest.approx(y, rel=1e-5, abs=1e-5)
    many = torch.linspace(0, 1, 20_000) ** 4
    scale = TargetScale.fit("quantile", many)
    assert 900 < len(scale.knots) <= 1000
    assert scale.to_unit(scale.to_loss(many)).numpy() == pytest.approx(many.numpy(), abs=1e-4)


@pytest.mark.parametrize("kind", ["log", "quantile"])
def test_predictions_stay_in_the_range_of_training(kind: str) -> None:
    scale = TargetScale.fit(kind, torch.from_numpy(Y))
    ends = [float(Y.min()), float(Y.max())]
    assert scale.to_unit(torch.tensor([-1e6, 1e6])).tolist() == pytest.approx(ends)
    beyond = scale.to_loss(torch.tensor([-5.0, 0.0, 1e9]))  # of another split
    assert beyond.isfinite().all()
    assert beyond[[0, 2]].tolist() == scale.to_loss(torch.tensor(ends)).tolist()
    out = scale.to_unit(torch.tensor([float("nan"), float("inf")]))  # a divergence has to be seen
    assert not out.isfinite().any()


def test_smearing_is_the_mean_of_the_exponentials_of_the_residuals() -> None:
    generator = np.random.default_rng(1)
    logs = generator.normal(2, 1, 4000)
    y = torch.from_numpy(np.exp(logs + generator.normal(0, 0.8, 4000)))
    scale = TargetScale.fit("log", y)
    prediction = torch.from_numpy(np.exp(logs))
    smeared = scale.smeared(prediction, y)
    assert smeared.factor == pytest.approx(float((y / prediction).mean()))
    assert smeared.factor == pytest.approx(np.exp(0.32), rel=0.05)  # of a normal error
    corrected = smeared.corrected(prediction)
    assert corrected.mean() == pytest.approx(float(y.mean()), rel=0.05)
    output = scale.to_output(prediction)
    assert smeared.to_unit(output).numpy() == pytest.approx(corrected.numpy(), rel=1e-6)
    assert smeared.to_unit(smeared.to_output(corrected)).numpy() == pytest.approx(corrected.numpy(), rel=1e-6)
    weight = torch.from_numpy(generator.uniform(0, 1, 4000))
    assert scale.smeared(prediction, y, weight).factor == pytest.approx(
        float((weight * y / prediction).sum() / weight.sum())
    )
    odd = y.clone()  # one row alone would correct all others, which are right
    odd[y.argmax()] = y.min()
    assert float((y / odd).mean()) > 2 and scale.smeared(odd, y).factor == 1


def test_a_state_comes_back_and_a_damaged_one_is_told() -> None:
    scale = TargetScale.fit("quantile", torch.from_numpy(Y))
    assert TargetScale.from_dict(scale.to_dict()) == scale
    for change in ({"kind": "none"}, {"normal": [0.0]}, {"low": "x"}):
        with pytest.raises(ValueError):
            TargetScale.from_dict({**scale.to_dict(), **change})
    with pytest.raises(LookupError):
        TargetScale.from_dict({"kind": "log"})


def test_skewness_is_scipys() -> None:
    assert skewness(torch.from_numpy(Y)) == pytest.approx(stats.skew(Y.astype(float)))
    assert skewness(torch.ones(5)) == 0


def test_options_of_the_module() -> None:
    with pytest.raises(ValueError, match="one of none, log, quantile"):
        RegressionModule(nn.Linear(1, 1), None, SPEC, target_transform="sqrt")
    with pytest.raises(ValueError, match="the logarithm of its prediction"):
        RegressionModule(nn.Linear(1, 1), PoissonLoss(), SPEC, target_transform="log")
    module = RegressionModule(nn.Linear(1, 1), MAELoss(), SPEC, target_transform="log")
    assert not module.smears  # a median stays one under a logarithm
    with pytest.raises(RuntimeError, match="not fitted"):
        module.natural(torch.zeros(2))
    assert module.init_arguments()["target_transform"] == "log"
    assert "target_transform" not in RegressionModule(nn.Linear(1, 1), None, SPEC).init_arguments()
