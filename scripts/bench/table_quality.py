"""How good a run with defaults is on tables of one's own, beside what others would train on the same rows.

Each contestant is a process of its own on one thread: `mlfund train data=table` without its references, and gradient
boosting with its defaults on the same encoded rows (scikit-learn's; LightGBM and CatBoost where they are installed,
with early stopping on validation). Their differences on the test rows have paired 95 % bootstrap intervals: a win or a
loss is one without zero. CPU seconds and peak memory are those of the whole process, imports included.

python scripts/bench/table_quality.py --table adult.parquet binary income --table air.parquet regression CO data.time=at
python scripts/bench/table_quality.py --table wine.parquet multiclass quality --split-seeds 0 1 --overrides model=mlp
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import polars as pl
import torch
from omegaconf import OmegaConf

from lit_mlfund import train
from lit_mlfund.config.compose import Composer
from lit_mlfund.datamodules import DataModule
from lit_mlfund.metrics import evaluate_binary, evaluate_multiclass, evaluate_regression
from lit_mlfund.references.by_split import fitted_outputs
from lit_mlfund.runs.assembly.objects import build_data

OURS, BOOSTING = "lit_mlfund", "boosting"
LIBRARIES = ("lightgbm", "catboost")
METRICS = {  # the value that is compared, lower is better
    "binary": ("log_loss", evaluate_binary),
    "multiclass": ("log_loss", evaluate_multiclass),
    "regression": ("rmse", evaluate_regression),
}
EPS = 1e-7


def train_ours(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, log-probabilities or values of the test rows, and their targets, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        quiet = ["references=false", "logger=none", f"runs_dir={folder}"]
        run = train([*lines, *quiet], verbose=False)
        table = pl.read_parquet(run.folder / "predictions" / "test.parquet")
    target = table["target"].to_numpy()
    several = [name for name in table.columns if name.startswith("probability_")]
    if several:
        return np.log(table.select(several).to_numpy().clip(EPS)), target
    if "probability" not in table.columns:
        return table["prediction"].to_numpy(), target
    p = table["probability"].to_numpy().clip(EPS, 1 - EPS)
    return np.log(p / (1 - p)), target


def train_other(name: str, data: DataModule, task: str) -> np.ndarray:
    """Fit LightGBM or CatBoost with its defaults, stopped on the validation split."""
    rows, y = {}, {}
    for split in data.stores:
        batch = data.whole(split)
        parts = {kind: pd.DataFrame(values.numpy()).add_prefix(kind) for kind, values in batch.x.items()}
        rows[split], y[split] = pd.concat(parts.values(), axis=1), batch.y.numpy()
    codes = [column for column in rows["train"] if column.startswith("categorical")]
    regression = task == "regression"
    if name == "lightgbm":
        import lightgbm

        cls = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
        model = cls(n_estimators=2000, n_jobs=1, verbose=-1)
        options = {"categorical_feature": codes, "callbacks": [lightgbm.early_stopping(50, verbose=False)]}
    else:
        import catboost

        cls = catboost.CatBoostRegressor if regression else catboost.CatBoostClassifier
        model = cls(thread_count=1, verbose=False, allow_writing_files=False)
        options = {"cat_features": codes, "early_stopping_rounds": 50}
    model.fit(rows["train"], y["train"], eval_set=[(rows["val"], y["val"])], **options)
    if regression:
        return np.asarray(model.predict(rows["test"]))
    p = np.asarray(model.predict_proba(rows["test"])).clip(EPS, 1 - EPS)
    return np.log(p) if task == "multiclass" else np.log(p[:, 1] / p[:, 0])


def contest(name: str, task: str, lines: list[str], out: Path) -> None:
    """Train one contestant, and write its outputs, its seconds and its memory."""
    if name == OURS:
        output, target = train_ours(lines)
    else:
        data = build_data(OmegaConf.create(Composer().checked(lines).config))
        data.setup("fit")
        target = data.whole("test").y.numpy()
        if name == BOOSTING:
            output = fitted_outputs(data.spec, data.stores, ["test"], 0)["gradient_boosting"]["test"]
        else:
            output = train_other(name, data, task)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cost = np.array([usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024])
    np.savez(out, output=output, target=target, cost=cost)


def measure(names: list[str], task: str, lines: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Train every contestant in a process of its own."""
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            out = Path(folder) / f"{name}.npz"
            command = [sys.executable, __file__, "--contest", name, task, str(out), *lines]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            measured[name] = dict(np.load(out))
    return measured


def compare(task: str, measured: dict[str, dict[str, np.ndarray]]) -> dict[str, tuple[float, str]]:
    """Return each contestant's loss, and whether ours wins, ties or loses against it."""
    target = torch.as_tensor(measured[BOOSTING]["target"])
    for part in measured.values():
        np.testing.assert_array_equal(part["target"], target.numpy())  # the same rows in the same order
    metric, evaluate = METRICS[task]
    evaluations = {
        name: evaluate(torch.as_tensor(part["output"]).float(), target) for name, part in measured.items()
    }
    ours = evaluations[OURS].resamples()[metric]
    result = {}
    for name, evaluation in evaluations.items():
        low, high = np.quantile(ours - evaluation.resamples()[metric], [0.025, 0.975])
        outcome = "" if name == OURS else "win" if high < 0 else "loss" if low > 0 else "tie"
        result[name] = evaluation.values()[metric], outcome
    return result


def main() -> None:
    if sys.argv[1:2] == ["--contest"]:
        name, task, out, *lines = sys.argv[2:]
        contest(name, task, lines, Path(out))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--table", nargs="+", action="append", required=True, metavar="PATH TASK TARGET [OVERRIDE]"
    )
    parser.add_argument("--split-seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--overrides", nargs="+", default=[], help="for ours, in every table")
    arguments = parser.parse_args()
    others = [BOOSTING, *(name for name in LIBRARIES if importlib.util.find_spec(name))]
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in others}
    ratios: dict[str, list[float]] = {name: [] for name in others}
    print("| table | split | " + " | ".join((OURS, *others)) + " |\n" + "| --- " * (3 + len(others)) + "|")
    for path, task, target, *more in arguments.table:
        for seed in arguments.split_seeds:
            data = [f"task={task}", "data=table", f"data.path={path}", f"data.target={target}", *more]
            lines = [*data, f"data.split_seed={seed}", *arguments.overrides]
            measured = measure([OURS, *others], task, lines)
            cells = []
            for name, (value, outcome) in (result := compare(task, measured)).items():
                seconds, memory = measured[name]["cost"]
                cells.append(f"{value:.4g} {outcome} ({seconds:.0f} s, {memory:.0f} MB)".replace("  ", " "))
                if outcome:
                    outcomes[name][outcome] += 1
                    ratios[name].append(result[OURS][0] / value)
            print(f"| {Path(path).stem} | {seed} | " + " | ".join(cells) + " |", flush=True)
    for name in others:
        wins, ties, losses = (outcomes[name][word] for word in ("win", "tie", "loss"))
        mean = np.exp(np.mean(np.log(ratios[name])))
        print(f"against {name}: {wins} wins, {ties} ties, {losses} losses; ratio of the losses {mean:.3f}")


if __name__ == "__main__":
    main()
