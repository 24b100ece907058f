"""Which runs can be trained as one stacked model, and the messages about the others."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lit_mlfund.config.compose import Composer
from lit_mlfund.sweeps.stacked.stacked_sweep import unstackable

BASE = ("task=binary", "data=breast_cancer", "model=mlp")


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def config(composer: Composer, *lines: str) -> dict[str, Any]:
    return copy.deepcopy(composer.checked([*BASE, *lines]).config)


def test_seeds_rates_and_schedules_may_differ(composer: Composer) -> None:
    lines = [
        "seed=1",
        "optim.lr=0.1",
        "optim.weight_decay=0",
        "schedule.warmup_fraction=0.2",
        "schedule=null",
    ]
    assert list(unstackable([config(composer), *(config(composer, line) for line in lines)])) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "loss=focal",
            "loss: sweep=stacked needs one for all runs; they may differ in seed, optim, schedule",
        ),
        ("data.split_seed=4", "data: sweep=stacked needs one for all runs"),
        ("model.hidden=[3]", "model: sweep=stacked needs one for all runs"),
        ("optim=muon", "optim: sweep=stacked cannot stack muon, only adam, adamw, sgd"),
        ("optim.lr=auto", "optim.lr: sweep=stacked needs numbers"),
        (
            "schedule=reduce_on_plateau",
            "schedule: sweep=stacked needs one that does not depend on the results of a run",
        ),
        ("regularization=ema", "regularization.ema: sweep=stacked does not support"),
        ("model.code_dropout=0.1", "model.code_dropout: "),
        (
            "trainer.accumulate_grad_batches=2",
            "trainer.accumulate_grad_batches: sweep=stacked needs 1, got 2",
        ),
        ("trainer.max_time=00:00:01:00", "trainer.max_time: "),
        ("trainer.devices=2", "trainer.devices: "),
        ("trainer.precision=bf16-mixed", "trainer.precision: sweep=stacked needs 32-true, got bf16-mixed"),
        ("train=false", "train: "),
    ],
)
def test_what_cannot_be_stacked_says_why(composer: Composer, line: str, message: str) -> None:
    problems = list(unstackable([config(composer), config(composer, line)]))
    assert any(problem.startswith(message) for problem in problems), problems


def test_other_tasks_and_models(composer: Composer) -> None:
    ranking = composer.checked(["task=ranking"]).config
    problems = list(unstackable([ranking]))
    for message in ("model: ", "loss: ", "task: sweep=stacked cannot stack ranking"):
        assert any(problem.startswith(message) for problem in problems), problems
