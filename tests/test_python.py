"""The door from Python: `lit_mlfund.train`, `lit_mlfund.load_run`, and what a run can be asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import lit_mlfund
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.data.sources.small_tables import breast_cancer

SMALL = ["task=binary", "data=breast_cancer", "trainer.max_epochs=2", "references=false", "logger=files"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lit_mlfund.Run:
    return lit_mlfund.train([*SMALL, f"runs_dir={tmp_path_factory.mktemp('runs')}"])


def test_import_alone_loads_nothing() -> None:
    code = (
        "import sys, lit_mlfund; print(lit_mlfund.__version__, 'torch' in sys.modules);"
        "lit_mlfund.load_run; print('torch' in sys.modules, sorted(lit_mlfund.__all__))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["0.2.0 False", "True ['Run', '__version__', 'load_run', 'train']"]
    with pytest.raises(AttributeError, match="fit"):
        lit_mlfund.fit  # noqa: B018


def test_nothing_is_shown_where_that_is_not_wanted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lit_mlfund.train([*SMALL, f"runs_dir={tmp_path}"], verbose=False)
    assert "epoch" not in "".join(capfd.readouterr())


def test_results_are_those_of_the_folder(run: lit_mlfund.Run) -> None:
    assert run.result == json.loads((run.folder / "result.json").read_text())
    assert run.metrics["history"] and isinstance(run.findings, list)
    assert "auroc" in str(run) and repr(run) == f"Run({str(run.folder)!r})"


def test_evaluate_and_predict(run: lit_mlfund.Run, tmp_path: Path) -> None:
    loaded = lit_mlfund.load_run(run.folder)
    assert loaded.evaluate()["metrics"] == run.result["test"]
    frame = breast_cancer()
    measured = loaded.evaluate(frame)
    assert measured["rows"] == frame.height and measured["path"] == "the frame"
    frame.write_parquet(tmp_path / "new.parquet")
    assert loaded.evaluate(str(tmp_path / "new.parquet"))["metrics"] == measured["metrics"]
    predicted = loaded.predict(frame.drop("diagnosis"))
    assert predicted.columns[-2:] == ["prediction", "probability"] and predicted.height == frame.height
    stored = pl.read_parquet(run.folder / "predictions" / "test.parquet")
    assert predicted["probability"][stored["row"].to_list()].to_list() == pytest.approx(
        stored["probability"].to_list(), abs=1e-6
    )


def test_a_pandas_frame_comes_back_as_one(run: lit_mlfund.Run) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(breast_cancer().drop("diagnosis").to_dict(as_series=False)).tail(7)
    predicted = run.predict(frame)
    assert isinstance(predicted, pandas.DataFrame)
    assert predicted.index.equals(frame.index) and 0 < predicted["probability"].iloc[0] < 1


def test_what_is_wrong_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"optim\.rl: unknown"):
        lit_mlfund.train("task=binary data=breast_cancer optim.rl=3")
    with pytest.raises(ConfigError, match="there is no folder"):
        lit_mlfund.load_run(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="a sweep is more than one run"):
        lit_mlfund.train("task=binary sweep=lr")
    with pytest.raises(RuntimeError, match="failed: the training loss is nan"):
        diverging = "optim=sgd optim.lr=1e30 trainer.gradient_clip_val=null"
        lit_mlfund.train([*SMALL, *diverging.split(), f"runs_dir={tmp_path}"])
