"""Reference models: against scikit-learn fitted by hand, and on data of a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import ListStore
from lit_mlfund.metrics import ndcg
from lit_mlfund.references.fit import point_references, ranking_references

SIZE = 400


def inputs(seed: int) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(seed)
    return {
        "numeric": torch.from_numpy(generator.normal(size=(SIZE, 2)).astype("float32")),
        "categorical": torch.from_numpy(generator.integers(0, 5, (SIZE, 1))),
    }


def spec(task: str, classes: tuple[str, ...] = ()) -> DataSpec:
    fields = {
        "numeric": Field("numeric", (2,), ("a", "b")),
        "categorical": Field("categorical", (1,), ("c",), (5,)),
    }
    return DataSpec(task, fields, classes=classes)  # type: ignore[arg-type]


def test_regression_references_equal_scikit_learn() -> None:
    train, test = inputs(0), inputs(1)
    y = (2 * train["numeric"][:, 0] + train["categorical"][:, 0]).numpy()
    outputs = point_references(spec("regression"), (train, y), {"test": test})
    assert set(outputs) == {"constant", "linear", "gradient_boosting"}
    assert outputs["constant"]["test"] == pytest.approx(np.full(SIZE, y.mean()))

    def design(x: dict[str, torch.Tensor]) -> np.ndarray:
        return np.hstack([x["numeric"].numpy(), np.eye(5)[x["categorical"][:, 0].numpy()]])

    expected = Ridge(alpha=1.0).fit(design(train), y).predict(design(test))
    assert outputs["linear"]["test"] == pytest.approx(expected, abs=1e-3)
    truth = (2 * test["numeric"][:, 0] + test["categorical"][:, 0]).numpy()
    assert np.abs(outputs["gradient_boosting"]["test"] - truth).mean() < 0.3


@pytest.mark.parametrize("classes", [("no", "yes"), ("x", "y", "z")])
def test_probabilities_equal_those_of_scikit_learn(classes: tuple[str, ...]) -> None:
    """By value: a ranking of the rows, as by AUROC, would hide an offset or a scale of the logits."""
    train, test = inputs(0), inputs(1)
    score = train["numeric"][:, 0] + 0.5 * train["numeric"][:, 1] + (train["categorical"][:, 0] == 2)
    score += torch.from_numpy(np.random.default_rng(2).logistic(size=SIZE))
    y = ((score > 0.8).long() + (score > 1.6).long() * (len(classes) - 2)).numpy()
    task = "binary" if len(classes) == 2 else "multiclass"
    outputs = point_references(spec(task, classes), (train, y), {"test": test}, seed=3)

    def probability(name: str) -> np.ndarray:
        logits = torch.from_numpy(outputs[name]["test"])
        both = torch.stack([torch.zeros_like(logits), logits], 1) if task == "binary" else logits
        return both.softmax(1).numpy()

    def onehot(x: dict[str, torch.Tensor]) -> np.ndarray:
        return np.hstack([x["numeric"].numpy(), np.eye(5)[x["categorical"][:, 0].numpy()]])

    def codes(x: dict[str, torch.Tensor]) -> np.ndarray:
        return np.hstack([x["numeric"].numpy(), x["categorical"].numpy()])

    share = np.bincount(y, minlength=len(classes)) / SIZE
    assert probability("constant") == pytest.approx(np.tile(share, (SIZE, 1)), abs=1e-6)
    linear = LogisticRegression(max_iter=1000).fit(onehot(train), y)
    assert probability("linear") == pytest.approx(linear.predict_proba(onehot(test)), abs=2e-2)
    boosting = HistGradientBoostingClassifier(categorical_features=[False, False, True], random_state=3).fit(
        codes(train), y
    )
    assert probability("gradient_boosting") == pytest.approx(boosting.predict_proba(codes(test)), abs=1e-5)


def test_classes_missing_from_no_column() -> None:
    train, test = inputs(0), inputs(1)
    y = (train["numeric"][:, 0] > 0).long().numpy() * 2  # class 1 never occurs
    outputs = point_references(spec("multiclass", ("x", "y", "z")), (train, y), {"test": test})
    for output in outputs.values():
        assert output["test"].shape == (SIZE, 3) and np.isfinite(output["test"]).all()
        assert (output["test"].argmax(1) != 1).all()


def test_a_category_of_many_codes_is_target_encoded() -> None:
    generator = np.random.default_rng(0)
    codes = torch.from_numpy(generator.integers(0, 400, (4000, 1)))
    many = DataSpec("regression", {"categorical": Field("categorical", (1,), ("c",), (400,))})
    effect = generator.normal(size=400)
    y = effect[codes[:, 0].numpy()]
    outputs = point_references(many, ({"categorical": codes}, y), {"test": {"categorical": codes}})
    assert np.corrcoef(outputs["gradient_boosting"]["test"], y)[0, 1] > 0.9


def test_texts_have_a_linear_reference_only() -> None:
    generator = np.random.default_rng(0)
    ids = torch.from_numpy(generator.integers(1, 50, (SIZE, 6)))
    y = (ids == 7).any(1).long().numpy()
    texts = DataSpec("binary", {"tokens": Field("tokens", (6,), cardinalities=(50,))}, classes=("no", "yes"))
    outputs = point_references(texts, ({"tokens": ids}, y), {"test": {"tokens": ids}})
    assert set(outputs) == {"constant", "linear"}
    scores = outputs["linear"]["test"]
    assert scores[y == 1].min() > np.median(scores[y == 0])


def test_ranking_finds_the_feature_and_its_direction() -> None:
    generator = np.random.default_rng(0)
    relevance = torch.from_numpy(generator.integers(0, 3, 300)).float()
    noise = torch.from_numpy(generator.normal(size=300)).float()
    x = {"numeric": torch.stack([noise, -relevance + 0.1 * noise], 1)}
    store = ListStore(x, relevance, torch.arange(0, 301, 10))
    lists = DataSpec("ranking", {"numeric": Field("numeric", (2,), ("noise", "reversed"))})
    outputs = ranking_references(lists, store, {"test": store.x})
    assert set(outputs) == {"random", "best_feature", "linear", "gradient_boosting"}

    def quality(name: str) -> float:
        scores = torch.as_tensor(outputs[name]["test"]).reshape(30, 10)
        return float(ndcg(scores, relevance.reshape(30, 10)).nanmean())

    assert quality("best_feature") > 0.99
    assert quality("random") < 0.9
