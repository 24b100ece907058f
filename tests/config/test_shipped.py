"""Every configuration file that is shipped composes and is right."""

from __future__ import annotations

import itertools

import pytest

from lit_mlfund.cli.listing import TASKS
from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.compose import Composer
from lit_mlfund.config.options import options

CATALOG = catalog()
LOSSES = {option.name: option.tasks for option in options(CATALOG, "loss")}


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


@pytest.mark.parametrize("task", TASKS)
def test_a_task_alone_is_complete(composer: Composer, task: str) -> None:
    config = composer.checked([f"task={task}"]).config
    assert config["shape"] == task == task_name(config)


@pytest.mark.parametrize(
    "option", [f"{group}={name}" for group in sorted(CATALOG.groups) for name in CATALOG.groups[group]]
)
def test_every_option_is_right_for_some_task(composer: Composer, option: str) -> None:
    """Another data set or model, or values that only the user has, may be missing beside it."""
    group, _, name = option.partition("=")
    fitting = {other.name: other.tasks for other in options(CATALOG, group)}[name]
    tasks = TASKS if group != "task" else (name,)
    fewest = None
    for task in fitting or tasks:
        problems = composer.compose([f"task={task}", option]).problems
        problems = [problem for problem in problems if " is required: pass data." not in problem]
        if fewest is None or len(problems) < len(fewest):
            fewest = problems
    assert fewest is not None
    others = [
        problem
        for problem in fewest
        if not (problem.startswith(("model: ", "regularization.")) and " inputs, but " in problem)
        and "pip install" not in problem
    ]
    assert others == []


@pytest.mark.parametrize(("task", "loss"), itertools.product(TASKS, LOSSES))
def test_a_loss_fits_a_task_or_is_refused(composer: Composer, task: str, loss: str) -> None:
    problems = composer.compose([f"task={task}", f"loss={loss}"]).problems
    if task in LOSSES[loss]:
        assert problems == []
    else:
        assert problems
        assert all(f"does not fit task={task}; use loss=" in problem for problem in problems)


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        (["loss.reduction=none"], "loss.reduction"),
        (
            ["task=regression", "loss=composite", "loss.parts.mae.loss.reduction=none"],
            "loss.parts.mae.loss.reduction",
        ),
    ],
)
def test_a_loss_per_example_is_refused(composer: Composer, lines: list[str], path: str) -> None:
    (problem,) = composer.compose(lines).problems
    assert problem.startswith(
        f"{path}: training minimises the mean of a batch, but none keeps a loss per example"
    )
    assert composer.compose(["loss.reduction=mean"]).problems == []
