"""What can be trained as one stacked model, and what is told of the rest."""

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
    ("line", "told"),
    [
        (
            "loss=focal",
            "loss: sweep=stacked wants one for all runs; they may differ in seed, optim, schedule",
        ),
        ("data.split_seed=4", "data: sweep=stacked wants one for all runs"),
        ("model.hidden=[3]", "model: sweep=stacked wants one for all runs"),
        ("optim=muon", "optim: sweep=stacked cannot stack muon, only adam, adamw, sgd"),
        ("optim.lr=auto", "optim.lr: sweep=stacked wants numbers"),
        (
            "schedule=reduce_on_plateau",
            "schedule: sweep=stacked wants one that does not depend on how a run goes",
        ),
        ("regularization=ema", "regularization.ema: sweep=stacked has no place for"),
        ("model.code_dropout=0.1", "model.code_dropout: "),
        (
            "trainer.accumulate_grad_batches=2",
            "trainer.accumulate_grad_batches: sweep=stacked wants 1, got 2",
        ),
        ("trainer.max_time=00:00:01:00", "trainer.max_time: "),
        ("trainer.devices=2", "trainer.devices: "),
        ("trainer.precision=bf16-mixed", "trainer.precision: sweep=stacked wants 32-true, got bf16-mixed"),
        ("train=false", "train: "),
    ],
)
def test_what_cannot_be_stacked_says_why(composer: Composer, line: str, told: str) -> None:
    problems = list(unstackable([config(composer), config(composer, line)]))
    assert any(problem.startswith(told) for problem in problems), problems


def test_other_tasks_and_models(composer: Composer) -> None:
    ranking = composer.checked(["task=ranking"]).config
    problems = list(unstackable([ranking]))
    for told in ("model: ", "loss: ", "task: sweep=stacked cannot stack ranking"):
        assert any(problem.startswith(told) for problem in problems), problems
