"""Trees of plain tensors against the scikit-learn models that they were copied from."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.references.blend import Blend, averaged
from lit_mlfund.references.boosting import Boosting
from lit_mlfund.references.trees import Trees, trees_of

CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c", "d"), "regression": ()}
FIELDS = {
    "numeric": Field("numeric", (3,), ("x", "y", "z")),
    "categorical": Field("categorical", (3,), ("few", "many", "color"), (7, 300, 4)),
}


def spec(task: str) -> DataSpec:
    return DataSpec(task, FIELDS, classes=CLASSES[task])  # type: ignore[arg-type]


def rows(seed: int, size: int, codes: int) -> dict[str, torch.Tensor]:
    """Rows with missing numbers, and of each category the codes below `codes`."""
    generator = np.random.default_rng(seed)
    numeric = generator.normal(size=(size, 3)).astype("float32")
    numeric[generator.random((size, 3)) < 0.2] = np.nan
    limits = [min(codes, 7), min(codes * 40, 300), min(codes, 4)]
    categorical = np.stack([generator.integers(0, limit, size) for limit in limits], 1)
    return {"numeric": torch.from_numpy(numeric), "categorical": torch.from_numpy(categorical)}


def fitted(task: str) -> tuple[Boosting, DataSpec, dict[str, torch.Tensor]]:
    train = rows(0, 1500, codes=5)
    few, many, _ = train["categorical"].unbind(1)
    score = train["numeric"].nan_to_num(0.7).sum(1) + (few % 3) + (many % 7) / 3
    codes = (score > 2).long() + (score > 4).long() * (task == "multiclass")  # class d does not occur
    target = score if task == "regression" else codes
    return Boosting(spec(task), 0).fit(train, target.numpy()), spec(task), train


@pytest.mark.parametrize("task", CLASSES)
def test_trees_predict_what_scikit_learn_does(task: str) -> None:
    """On numbers and missing ones, few categories and many, and those that the training rows lack."""
    boosting, described, train = fitted(task)
    buffer = io.BytesIO()
    torch.save(trees_of(boosting, described, train).state(), buffer)
    buffer.seek(0)
    trees = Trees(described, torch.load(buffer, weights_only=True))
    assert int((trees.split >= 0).sum()) > 0 and len(trees.means) == 300
    new = rows(1, 700, codes=9)
    predicted, expected = trees(new).numpy(), boosting.predict(new)
    assert predicted.dtype == np.float64
    if task == "multiclass":  # classes that training lacks have no probability
        known = boosting.model.classes_.astype(int)
        assert predicted.shape == (700, 4) and not np.delete(predicted, known, 1).any()
        predicted = predicted[:, known]
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-10)
    at_once = trees(rows(2, 12_000, codes=9))  # more than are walked at a time
    np.testing.assert_allclose(
        at_once[:5].numpy(), trees({n: v[:5] for n, v in rows(2, 12_000, codes=9).items()}).numpy()
    )


def test_numbers_on_a_threshold_go_where_they_went_in_the_fit() -> None:
    described = DataSpec("regression", {"numeric": Field("numeric", (1,), ("x",))})
    x = {"numeric": (torch.arange(200).float()[:, None] / 7).round(decimals=1)}
    boosting = Boosting(described, 0).fit(x, x["numeric"][:, 0].numpy() ** 2)
    trees = trees_of(boosting, described, x)
    on_threshold = {"numeric": trees.threshold[trees.left != trees.right].float()[:, None]}
    np.testing.assert_allclose(trees(on_threshold).numpy(), boosting.predict(on_threshold), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left", 10**6),
        ("right", -1),
        ("feature", 99),
        ("split", 10**5),
        ("roots", -3),
        ("classes", 7),
        ("sums", 1),
    ],
)
def test_trees_of_a_damaged_file_are_refused(name: str, value: int) -> None:
    boosting, described, train = fitted("binary")
    state = trees_of(boosting, described, train).state()
    state[name] = state[name].clone()
    state[name].view(-1)[0] = value
    with pytest.raises(ValueError, match="do not fit the data"):
        Trees(described, state)


def test_a_scikit_learn_with_other_trees_is_noticed() -> None:
    boosting, described, train = fitted("regression")
    boosting.model._baseline_prediction = boosting.model._baseline_prediction + 1
    predict = boosting.predict
    boosting.predict = lambda x: predict(x) - 1  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="this version of scikit-learn"):
        trees_of(boosting, described, train)


def test_probabilities_are_averaged_not_logits() -> None:
    network, trees = torch.tensor([2.0, -700.0]), torch.tensor([-1.0, 3.0])
    expected = 0.25 * network.double().sigmoid() + 0.75 * trees.double().sigmoid()
    torch.testing.assert_close(averaged(network, trees, 0.25, "binary").sigmoid(), expected)
    logits = torch.tensor([[1.0, 2.0, -800.0]])
    other = torch.tensor([[0.2, 0.3, 0.5]]).log()
    mean = 0.5 * logits.double().softmax(-1) + 0.5 * torch.tensor([[0.2, 0.3, 0.5]]).double()
    torch.testing.assert_close(averaged(logits, other, 0.5, "multiclass").exp(), mean, atol=1e-7, rtol=0)
    assert float(averaged(torch.tensor(3.0), torch.tensor(5.0), 0.75, "regression")) == 3.5


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_blend_can_be_exported(share: float) -> None:
    boosting, described, train = fitted("binary")
    blend = Blend(trees_of(boosting, described, train), share)
    new = rows(1, 40, codes=9)
    logits = torch.linspace(-2, 2, 40)
    program = torch.export.export(blend, (logits, new)).module()
    torch.testing.assert_close(program(logits, new), blend(logits, new))
    if share == 0:
        probability = torch.from_numpy(boosting.predict(new)[:, 1]).float()
        torch.testing.assert_close(blend(logits, new).sigmoid(), probability)


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_share_is_one(share: float) -> None:
    boosting, described, train = fitted("regression")
    with pytest.raises(ValueError, match="between 0 and 1"):
        Blend(trees_of(boosting, described, train), share)
