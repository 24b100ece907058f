"""The recipes of the doctor's benchmark: planted faults with the names that are accepted, and healthy runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import doctor_data_recipes
import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

TABLE = ("data=table", "data.target=y", "data.batch_size=32")
SOURCES: dict[str, tuple[str, ...]] = {
    "breast_cancer": ("task=binary", "data=breast_cancer"),
    "noisy": ("task=binary", *TABLE, "data.path=noisy.csv"),
    "interaction": ("task=binary", *TABLE, "data.path=interaction.csv"),
    "rare": ("task=binary", *TABLE, "data.path=rare.csv"),
    "random": ("task=binary", *TABLE, "data.path=random.csv"),
    "digits": ("task=multiclass", "data=digits", "model=mlp"),
    "diabetes": ("task=regression", "data=diabetes"),
    "wave": ("task=regression", *TABLE, "data.path=wave.csv"),
    "noise": ("task=regression", *TABLE, "data.path=noise.csv"),
    **{
        f"{name} table": doctor_data_recipes.overrides(f"{name}_sound") for name in doctor_data_recipes.TABLES
    },
}


@dataclass(frozen=True)
class Recipe:
    """A run: the overrides of its sound twin, those that plant a fault, and the findings that name it.

    A fault that `flatters` is there if the run looks better than its twin.
    """

    name: str
    half: Literal["tuning", "report"]
    sources: tuple[str, ...]
    sound: tuple[str, ...] = ()
    fault: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    flatters: bool = False


def _in_data(table: str, half: Literal["tuning", "report"], *names: str, flatters: bool = False) -> Recipe:
    """Return the recipe of a table that is at fault, whose twin is the same table without it."""
    fault = (f"data.path={table}.csv",)
    return Recipe(table, half, (f"{table} table",), DATA_EPOCHS, fault, names, flatters)


DATA_EPOCHS = ("trainer.max_epochs=20", "data.batch_size=64", "optim.lr=3e-3")
LONG = ("trainer.max_epochs=20",)
LEARN_BY_HEART = (
    "model.hidden=[256,256]", "model.dropout=0.0", "optim.lr=3e-3", "optim.weight_decay=0", "schedule=constant",
    "callbacks=none", "checkpoint=last", "trainer.max_epochs=40",
)  # fmt: skip
HEART = (
    "data.batch_size=32", "model.hidden=[256,256]", "model.dropout=0.0", "optim.lr=3e-3", "optim.weight_decay=0",
    "trainer.max_epochs=25", "callbacks=none", "checkpoint=last",
)  # fmt: skip
FAULTS = (
    Recipe("memorised", "tuning", ("noisy", "noise"), LONG, LEARN_BY_HEART, ("overfitting",)),
    Recipe("memorised_few", "report", ("diabetes", "rare"), LONG, LEARN_BY_HEART, ("overfitting",)),
    Recipe("rate_too_low", "tuning", ("breast_cancer", "wave"), LONG, ("optim.lr=1e-6",), ("learning_rate_too_low",)),
    Recipe("rate_too_low_2", "report", ("digits", "interaction"), LONG, ("optim.lr=1e-6",), ("learning_rate_too_low",)),
    Recipe(
        "rate_too_high", "tuning", ("breast_cancer", "wave"), LONG, ("optim.lr=1.0",),
        ("learning_rate_too_high", "dead_units", "exploding_gradients"),
    ),
    Recipe(
        "rate_too_high_2", "report", ("digits", "interaction"), LONG, ("optim.lr=1.0",),
        ("learning_rate_too_high", "dead_units", "exploding_gradients"),
    ),
    Recipe(
        "too_short", "tuning", ("wave",), ("trainer.max_epochs=40",), ("trainer.max_epochs=2",),
        ("stopped_too_early", "learning_rate_too_low"),
    ),
    Recipe(
        "too_short_2", "report", ("interaction", "digits"), ("trainer.max_epochs=40",), ("trainer.max_epochs=2",),
        ("stopped_too_early", "learning_rate_too_low"),
    ),
    Recipe("linear", "tuning", ("wave",), ("trainer.max_epochs=40",), ("model=linear",), ("too_small",)),
    Recipe("linear_2", "report", ("interaction",), ("trainer.max_epochs=40",), ("model=linear",), ("too_small",)),
    Recipe("decay", "tuning", ("wave",), LONG, ("optim.weight_decay=100",), ("over_regularised",)),
    Recipe("decay_2", "report", ("digits", "interaction"), LONG, ("optim.weight_decay=100",), ("over_regularised",)),
    Recipe("dropout", "report", ("wave", "interaction"), LONG, ("model.dropout=0.95",), ("over_regularised",)),
    Recipe(
        "exploding", "tuning", ("wave",), LONG, ("optim=sgd", "optim.lr=1e4", "trainer.gradient_clip_val=null"),
        ("exploding_gradients",),
    ),
    Recipe(
        "exploding_2", "report", ("diabetes",), LONG, ("optim=sgd", "optim.lr=1e4", "trainer.gradient_clip_val=null"),
        ("exploding_gradients",),
    ),
    Recipe(
        "log_of_zero", "report", ("noisy",), LONG, ("loss._target_=doctor_recipes.LogOfProbability",), ("log_of_zero",)
    ),
    Recipe("root_of_zero", "report", ("wave",), LONG, ("loss._target_=doctor_recipes.Root",), ("sqrt_at_zero",)),
    Recipe("quotient", "report", ("wave",), LONG, ("loss._target_=doctor_recipes.Relative",), ("division_by_zero",)),
    Recipe(
        "double_sigmoid", "tuning", ("breast_cancer",), ("model._target_=doctor_recipes.Net", *LONG),
        ("model.fault=sigmoid",), ("double_softmax",),
    ),
    Recipe(
        "always_dropout", "report", ("breast_cancer",), ("model._target_=doctor_recipes.Net", *LONG),
        ("model.fault=dropout",), ("validation_in_training_mode",),
    ),
    Recipe(
        "frozen", "report", ("interaction",), ("model._target_=doctor_recipes.Net", *LONG), ("model.fault=frozen",),
        ("frozen_parameters",),
    ),
    Recipe(
        "dead", "report", ("interaction",), ("model._target_=doctor_recipes.Net", *LONG), ("model.fault=dead",),
        ("dead_units", "vanishing_gradients", "frozen_parameters"),
    ),
    Recipe(
        "not_zeroed", "report", ("breast_cancer", "interaction"),
        ("optim._target_=torch.optim.SGD", "optim.lr=0.01", *LONG),
        ("optim._target_=doctor_recipes.KeepsGradients",), ("gradients_not_zeroed",),
    ),
    Recipe(
        "blind_monitor", "report", ("rare",), ("model=mlp", *LONG), ("monitor=val/accuracy",),
        ("class_imbalance", "stopped_too_early"),
    ),
    Recipe("random_labels", "report", ("random",), (), LONG, ("no_signal",)),
    _in_data("covariates", "tuning", "covariate_shift"),
    _in_data("labels", "tuning", "label_shift"),
    _in_data("drift", "report", "time_drift"),
    _in_data("units", "tuning", "unit_change"),
    _in_data("fahrenheit", "report", "unit_change"),
    _in_data("zeros", "report", "filled_with_default"),
    _in_data("unseen", "report", "category_unseen"),
    _in_data("leak", "tuning", "target_leakage", flatters=True),
    _in_data("leak_of_a_number", "report", "target_leakage", flatters=True),
    Recipe(
        "copies", "tuning", ("copies table",), HEART, ("data.path=copies.csv",), ("duplicates_across_splits",), True
    ),
    Recipe(
        "near_copies", "report", ("near_copies table",), HEART, ("data.path=near_copies.csv",),
        ("duplicates_across_splits",), True,
    ),
    Recipe(
        "people", "report", ("people table",), ("data.path=people.csv", *DATA_EPOCHS, "data.group=patient_id"),
        ("data.group=null",), ("group_overlap",), True,
    ),
    _in_data("numbered", "report", "row_number_feature", flatters=True),
    _in_data("wrong_labels", "report", "label_noise"),
    _in_data("heavy", "tuning", "heavy_rows"),
)  # fmt: skip
HEALTHY = (
    Recipe("default", "tuning", ("breast_cancer", "noisy"), LONG),
    Recipe("default_2", "report", ("interaction", "wave", "digits"), ("trainer.max_epochs=60",)),
    Recipe("linear_fits", "tuning", ("noisy",), ("model=linear", "optim.lr=0.03", *LONG)),
    Recipe("linear_fits_2", "report", ("diabetes", "breast_cancer"), ("model=linear", "optim.lr=0.03")),
    Recipe("heavy_dropout", "report", ("noisy", "breast_cancer"), ("model.dropout=0.5", *LONG)),
    Recipe("noise_dominates", "tuning", ("noise",), LONG),
    Recipe("one_percent", "report", ("rare",), LONG),
    Recipe("strong_feature", "report", ("breast_cancer",), ("seed=7", *LONG)),
    Recipe(
        "fits_exactly", "report", ("breast_cancer",),
        ("model.dropout=0.0", "callbacks=none", "trainer.max_epochs=60", "checkpoint=last", "optim.weight_decay=0.1"),
    ),
    Recipe("by_time", "tuning", ("by_time table",), DATA_EPOCHS),
    Recipe("harmless_shift", "report", ("harmless_shift table",), DATA_EPOCHS),
    Recipe("natural_copies", "report", ("natural_copies table",), DATA_EPOCHS),
    Recipe("strong_honest_feature", "tuning", ("strong_feature table",), DATA_EPOCHS),
    Recipe("one_percent_2", "report", ("rare_rows table",), DATA_EPOCHS),
    Recipe("dominated", "tuning", ("dominated table", "dominated_classes table"), DATA_EPOCHS),
    Recipe("many_rows", "report", ("many_rows table",), ("trainer.max_epochs=2", "data.batch_size=2048")),
)  # fmt: skip


def write_tables(folder: Path) -> None:
    """Write the tables that are drawn at random, of 2,000 rows or more."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2000, 10))
    noise = generator.normal(size=2000)
    logits = {
        "noisy": x[:, 0] + 0.5 * x[:, 1],
        "interaction": 4 * x[:, 0] * x[:, 1] + x[:, 2],
        "random": 0 * x[:, 0],
        "rare": 2.0 * x[:, 0] - 5.5,
    }
    for name, logit in logits.items():
        target = (generator.random(2000) < 1 / (1 + np.exp(-logit))).astype(int)
        _write(folder / f"{name}.csv", x, target)
    _write(folder / "wave.csv", x, np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * noise)
    _write(folder / "noise.csv", x, 0.33 * x[:, 0] + noise)
    doctor_data_recipes.write_data_tables(folder)


def _write(path: Path, x: np.ndarray, target: np.ndarray) -> None:
    pl.DataFrame({**{f"x{column}": x[:, column] for column in range(x.shape[1])}, "y": target}).write_csv(
        path
    )


class Net(nn.Module):
    """A small network of one's own, with one of the mistakes that people make."""

    tasks = ("binary",)

    def __init__(self, spec: object, fault: str = "none") -> None:
        super().__init__()
        self.fault = fault
        self.hidden, self.rectifier, self.head = nn.LazyLinear(64), nn.ReLU(), nn.LazyLinear(1)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        hidden = self.hidden(x["numeric"])
        if self.fault == "frozen":
            self.hidden.requires_grad_(False)
        if self.fault == "dead":
            hidden = hidden - 100
        hidden = self.rectifier(hidden)
        if self.fault == "dropout":
            hidden = F.dropout(hidden, 0.8)
        output = self.head(hidden).squeeze(-1)
        return output.sigmoid() if self.fault == "sigmoid" else output


class KeepsGradients(torch.optim.SGD):
    """An optimizer that never zeroes its gradients."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        pass


class LogOfProbability(nn.Module):
    """Cross-entropy from probabilities instead of logits."""

    tasks = ("binary",)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        probability = (500 * logits).sigmoid()
        return -(target * probability.log() + (1 - target) * (1 - probability).log()).mean()


class Root(nn.Module):
    """A root that is zero at a perfect prediction, as a distance has."""

    tasks = ("regression",)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).square().mean() + (
            prediction - prediction.detach()
        ).square().sum().sqrt()


class Relative(nn.Module):
    """A relative error, whose divisor is zero for small targets."""

    tasks = ("regression",)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction - target) / target.round()).abs().mean() + 0 * torch.ones(())
