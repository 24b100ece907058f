"""LightGBM as a reference: against LightGBM fitted by hand where it is installed, and what happens where it fails."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import ListStore
from lit_mlfund.references import fit
from lit_mlfund.references.fit import point_references, ranking_references
from lit_mlfund.references.fitting import Fitting

FIELDS = {
    "numeric": Field("numeric", (2,), ("a", "b")),
    "categorical": Field("categorical", (1,), ("c",), (5,)),
}
CLASSES = {"binary": ("no", "yes"), "multiclass": ("x", "y", "z"), "regression": ()}


def rows(seed: int, size: int = 600) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    generator = np.random.default_rng(seed)
    numbers, codes = generator.normal(size=(size, 2)).astype("float32"), generator.integers(0, 5, (size, 1))
    x = {"numeric": torch.from_numpy(numbers), "categorical": torch.from_numpy(codes)}
    return x, numbers[:, 0] + (codes[:, 0] == 2) + generator.normal(size=size)


def target(task: str, value: np.ndarray) -> np.ndarray:
    if task == "regression":
        return value
    return (value > 0).astype(int) + (value > 1) * (task == "multiclass")


def design(x: dict[str, torch.Tensor]) -> np.ndarray:
    return np.hstack([x["numeric"].numpy(), x["categorical"].numpy()])


@pytest.mark.parametrize("task", CLASSES)
def test_predictions_are_lightgbms_stopped_on_validation(task: str) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    (x, y), (held_out, right), (new, _) = rows(0), rows(1), rows(2)
    y, right = target(task, y), target(task, right)
    outputs = point_references(
        DataSpec(task, FIELDS, classes=CLASSES[task]), (x, y), {"test": new}, val=(held_out, right)
    )
    kind = lightgbm.LGBMRegressor if task == "regression" else lightgbm.LGBMClassifier
    options = {"deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1}
    model = kind(n_estimators=2000, **options).fit(
        design(x), y, eval_set=[(design(held_out), right)], categorical_feature=[2],
        callbacks=[lightgbm.early_stopping(50, verbose=False)],
    )  # fmt: skip
    assert 0 < model.best_iteration_ < 300
    told = outputs["lightgbm"]["test"]
    if task == "regression":
        assert told == pytest.approx(model.predict(design(new)), abs=1e-6)
    else:
        probability = model.predict_proba(design(new))
        expected = np.log(probability[:, 1] / probability[:, 0]) if task == "binary" else np.log(probability)
        assert told == pytest.approx(expected, abs=1e-4)


def lists(seed: int, unit: float = 1.0) -> ListStore:
    generator = np.random.default_rng(seed)
    relevance = generator.integers(0, 3, 600).astype("float32")
    shift = np.repeat(generator.normal(0, 30, 60), 10)  # of a query: tells nothing about its order
    x = np.stack([relevance + shift + generator.normal(0, 0.5, 600), shift], 1).astype("float32")
    return ListStore(
        {"numeric": torch.from_numpy(x)}, torch.from_numpy(relevance * unit), torch.arange(0, 601, 10)
    )


RANKING = DataSpec("ranking", {"numeric": Field("numeric", (2,), ("value", "shift"))})


def test_a_ranking_is_fitted_on_its_lists() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    train, val, test = lists(0), lists(1), lists(2)
    outputs = ranking_references(RANKING, train, {"test": test.x}, val=val)
    model = lightgbm.LGBMRanker(
        n_estimators=2000, deterministic=True, force_row_wise=True, num_threads=1, verbosity=-1
    ).fit(
        train.x["numeric"].numpy(), train.relevance.numpy(), group=[10] * 60, eval_at=[10],
        eval_set=[(val.x["numeric"].numpy(), val.relevance.numpy())], eval_group=[[10] * 60],
        callbacks=[lightgbm.early_stopping(50, verbose=False)],
    )  # fmt: skip
    expected = model.predict(test.x["numeric"].numpy())
    assert outputs["lightgbm"]["test"] == pytest.approx(expected, abs=1e-6)


def test_grades_that_are_no_whole_numbers_are_said() -> None:
    pytest.importorskip("lightgbm")
    with Fitting(None).active() as fitting:
        outputs = ranking_references(RANKING, lists(0, 0.25), {"test": lists(2).x}, val=lists(1, 0.25))
    assert "lightgbm" not in outputs and "gradient_boosting" in outputs
    assert fitting.left_out["lightgbm"].startswith("LightGBM refuses the data: label should be int type")


class Refused(Exception):
    """Stands for LightGBMError."""


def broken() -> types.ModuleType:
    def refuse(*_: Any, **__: Any) -> None:
        raise Refused("too many\n  documents")

    module = types.ModuleType("lightgbm")
    module.basic = types.SimpleNamespace(LightGBMError=Refused)  # type: ignore[attr-defined]
    module.Dataset = refuse  # type: ignore[attr-defined]
    return module


def test_what_lightgbm_refuses_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "is_installed", lambda: True)
    monkeypatch.setitem(sys.modules, "lightgbm", broken())
    data = rows(0)
    with Fitting(None).active() as fitting:
        outputs = point_references(DataSpec("regression", FIELDS), data, {"test": data[0]}, val=data)
    assert outputs.keys() == {"constant", "linear", "gradient_boosting"}
    assert fitting.left_out == {"lightgbm": "LightGBM refuses the data: too many documents"}
    monkeypatch.setitem(sys.modules, "lightgbm", None)  # its import fails, as without libgomp
    with Fitting(None).active() as fitting:
        outputs = point_references(DataSpec("regression", FIELDS), data, {"test": data[0]}, val=data)
    assert "lightgbm" not in outputs
    assert fitting.left_out["lightgbm"].startswith("LightGBM cannot be loaded: ")


def test_where_it_is_not_installed_it_is_just_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "is_installed", lambda: False)
    data = rows(0)
    with Fitting(None).active() as fitting:
        outputs = point_references(DataSpec("regression", FIELDS), data, {"test": data[0]}, val=data)
    assert outputs.keys() == {"constant", "linear", "gradient_boosting"} and not fitting.left_out
