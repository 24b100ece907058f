"""A sixth task shape from outside: ordinal regression, by a module, a loss and a YAML file, nothing of ours touched."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score

from tests.system.conftest import POINT_REFERENCES, Command

CODE = '''
"""Ordinal regression: grades 0 … K-1, between which K-1 ordered thresholds lie."""

import numpy as np
import torch
from torch import nn

from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules.pointwise import PointModule


class CumulativeLogisticLoss(nn.Module):
    """-log P(grade), with P(grade > k) = sigmoid(score - threshold_k) (McCullagh 1980)."""

    tasks = ("regression",)

    def __init__(self, num_grades: int):
        super().__init__()
        self.first = nn.Parameter(torch.tensor(-1.0))
        self.gaps = nn.Parameter(torch.zeros(num_grades - 2))

    def thresholds(self):
        return torch.cat([self.first[None], self.first + self.gaps.exp().cumsum(0)])

    def forward(self, score, grade):
        above = (score[:, None] - self.thresholds()).sigmoid()
        at_least = torch.cat([torch.ones_like(score)[:, None], above, torch.zeros_like(score)[:, None]], 1)
        probability = at_least[:, :-1] - at_least[:, 1:]
        return -probability.gather(1, grade.long()[:, None]).clamp_min(1e-9).log().mean()


class OrdinalModule(PointModule):
    """Trains a model that returns one score; its grade is the number of thresholds below it."""

    task = "ordinal"
    metrics = {"kappa": "max", "mae": "min"}
    figures = ("residuals",)

    def natural(self, output):
        return (output[:, None] > self.loss.thresholds()).sum(1).float()

    def evaluation(self, values):
        predicted = values["output"].round().clamp(min=0).cpu().numpy()
        target = values["target"].cpu().numpy()

        def measure(counts):  # [R, N]: how often each row was drawn
            total = counts.sum(1)
            error = counts @ (predicted - target) ** 2 / total
            means = [counts @ value / total for value in (predicted, target)]
            spreads = [counts @ value**2 / total - mean**2 for value, mean in zip((predicted, target), means)]
            chance = spreads[0] + spreads[1] + (means[0] - means[1]) ** 2
            return {"kappa": 1 - error / chance, "mae": counts @ np.abs(predicted - target) / total}

        return Evaluation(len(target), measure)

    def predictions(self, outputs):
        return {"prediction": outputs.output.cpu().numpy()}
'''
TASK = """
    # @package _global_
    # ordered grades; one score between thresholds
    defaults:
      - override /data: table
    task: {_target_: my_ordinal.OrdinalModule}
    loss: {_target_: my_ordinal.CumulativeLogisticLoss, num_grades: 4}
    shape: regression
    name: ordinal
    monitor: val/kappa
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the task, its configuration, and a table of 800 graded rows."""
    (tmp_path / "my_ordinal.py").write_text(CODE)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "ordinal.yaml").write_text(textwrap.dedent(TASK).lstrip())
    generator = np.random.default_rng(0)
    x = generator.normal(size=(800, 3))
    score = x @ [1.5, -1.0, 0.0] + 0.4 * generator.normal(size=800)
    frame = pl.DataFrame(
        {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "grade": np.digitize(score, [-1.5, 0, 1.5])}
    )
    frame.write_parquet(tmp_path / "graded.parquet")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_ordinal", None)


def test_trained_measured_predicted_and_shown(mlfund: Command, project: Path) -> None:
    outcome = mlfund(
        "train", "--config-dir", "conf", "task=ordinal", "data.path=graded.parquet", "data.target=grade",
        "data.batch_size=32", "trainer.max_epochs=12", "optim.lr=0.01",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert "/runs/ordinal/" in result["run"] and result["objective"]["name"] == "val/kappa"
    assert result["test"]["kappa"]["low"] > 0.8
    assert result["references"].keys() == POINT_REFERENCES
    assert result["references"]["linear"]["kappa"]["value"] > 0.7
    run = Path(result["run"])
    table = pl.read_parquet(run / "predictions" / "test.parquet")
    expected = cohen_kappa_score(
        table["target"].cast(int), table["prediction"].cast(int), weights="quadratic"
    )
    assert result["test"]["kappa"]["value"] == pytest.approx(expected)
    assert (run / "pictures" / "residuals.png").exists() and (run / "report.html").exists()

    evaluated = mlfund("evaluate", f"run={run}", "--trust=my_ordinal", "data.path=graded.parquet").json
    assert evaluated["rows"] == 800 and evaluated["metrics"]["kappa"]["value"] > 0.8
    assert (
        mlfund(
            "predict", f"run={run}", "--trust=my_ordinal", "data.path=graded.parquet", "output=p.csv"
        ).json["rows"]
        == 800
    )
    assert set(pl.read_csv("p.csv")["prediction"].unique()) == {0.0, 1.0, 2.0, 3.0}
    repeated = mlfund("train", f"run={run}", "--trust=my_ordinal", "name=again")
    assert repeated.code == 0 and repeated.json["test"] == result["test"]


def test_what_is_wrong_is_told_of_it_as_of_ours(mlfund: Command, project: Path) -> None:
    outcome = mlfund(
        "train", "--config-dir", "conf", "task=ordinal", "data.path=graded.parquet", "data.target=grade",
        "monitor=val/kapa", "loss.grades=3", "model=cnn",
    )  # fmt: skip
    assert outcome.code == 2
    told = outcome.err
    assert "monitor: val/kapa is not measured" in told and "did you mean val/kappa?" in told
    assert "loss.grades: unknown; did you mean num_grades?" in told and "model: CNN" in told
    assert json.loads("[]") == [] and not (project / "runs").exists()
