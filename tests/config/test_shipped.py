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


IMPOSSIBLE = {
    "optim.lr": ("-1", "0", "nan", "inf", "-inf"),
    "optim.weight_decay": ("-0.1", "nan", "inf"),
    "optim.eps": ("-1e-8", "nan"),
    "optim.betas": ("[0.9,1]", "[-0.1,0.999]", "[nan,0.999]"),
}


@pytest.mark.parametrize("key", IMPOSSIBLE)
def test_values_of_an_optimizer_that_are_impossible(composer: Composer, key: str) -> None:
    for value in IMPOSSIBLE[key]:
        (problem,) = composer.compose(["task=regression", f"{key}={value}"]).problems
        assert problem.startswith(f"{key} must "), problem
    for value in {"optim.lr": ("1e-30", "auto"), "optim.betas": ("[0,0.5]",)}.get(key, ("0",)):
        assert composer.compose(["task=regression", f"{key}={value}"]).problems == []


def test_impossible_values_of_other_optimizers(composer: Composer) -> None:
    for lines, words in (
        (("optim=sgd", "optim.momentum=1"), "optim.momentum must be from 0 to below 1, got 1"),
        (("optim=muon", "optim.momentum=nan"), "optim.momentum must be a finite number, got nan"),
        (("optim=adafactor", "optim.lr=-1"), "optim.lr must be above 0, got -1"),
        (("optim._target_=torch.optim.RMSprop", "optim.lr=0"), "optim.lr must be above 0, got 0"),
        (("embedding=sparse", "embedding.eps=-1"), "embedding.eps must not be negative, got -1"),
    ):
        (problem,) = composer.compose(["task=ranking", *lines]).problems
        assert problem.startswith(words), problem
