"""Learning rates by name of the parameter: every optimizer, schedules, a rate that was looked for, wrong input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.compose import Composer
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.runs.assembly.objects import build_module
from tests.optim.test_optimizers import installed
from tests.system.conftest import Command, mlfund  # noqa: F401

SPEC = DataSpec(
    "binary",
    {
        "numeric": Field("numeric", (8,), names=tuple("abcdefgh")),
        "categorical": Field("categorical", (1,), names=("k",), cardinalities=(9,)),
    },
    classes=("no", "yes"),
)
PATTERN = 'optim.lr_by_pattern={"*table*": 0.1, "*head*": 2}'
SMALL = ("task=binary", "data=breast_cancer", "references=false", "test=false", "callbacks=none")


def optimizer_of(*lines: str) -> Any:
    problems = Composer(None, lines).compose(lines)
    assert [told for told in problems.problems if "bitsandbytes" not in told] == []
    module = build_module(OmegaConf.create(problems.config), SPEC)
    return module, module.make_optimizer()


@pytest.mark.parametrize("name", [installed(name) for name in sorted(catalog().groups["optim"])])
def test_every_optimizer(name: str) -> None:
    extra = ["optim.min_8bit_size=64"] if name == "adamw8bit" else []
    module, optimizer = optimizer_of("task=binary", f"optim={name}", PATTERN, "optim.lr=0.01", *extra)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(module.named_parameters())
    assert rates.keys() == {id(parameter) for parameter in named.values()}
    for parameter, value in named.items():
        factor = 0.1 if "table" in parameter else 2.0 if "head" in parameter else 1.0
        assert rates[id(value)] == pytest.approx(0.01 * factor), parameter
    names = [group["name"] for group in optimizer.param_groups]
    assert len(set(names)) == len(names)
    assert {name.removesuffix(" muon").partition(" ")[2] for name in names} == {"", "x0.1", "x2"}


def test_an_optimizer_of_others_and_the_schedule() -> None:
    lines = (
        "task=binary",
        "optim._target_=torch.optim.RMSprop",
        "~optim.betas",
        "~optim.fused",
        "optim.lr=0.01",
    )
    module, optimizer = optimizer_of(*lines, PATTERN, "schedule=one_cycle")
    schedule = module.make_schedule(optimizer, 10)
    first = {group["name"]: group["lr"] for group in optimizer.param_groups}
    base = first["decay"]
    assert base == pytest.approx(0.04 * 0.01)  # one_cycle's first step
    assert first["no_decay x0.1"] == pytest.approx(0.1 * base) and first["decay x2"] == pytest.approx(
        2 * base
    )
    optimizer.step()
    schedule.step()
    after = {group["name"]: group["lr"] for group in optimizer.param_groups}
    for name, value in after.items():
        assert value / after["decay"] == pytest.approx(first[name] / base)


def test_automatic_rate_tensorboard_and_resume(mlfund: Command) -> None:  # noqa: F811
    outcome = mlfund(
        "train", *SMALL, "model.hidden=[8]", "optim.lr=auto", 'optim.lr_by_pattern={"*body*": 0.1}',
        "schedule=one_cycle", "trainer.max_epochs=3", "trainer.log_every_n_steps=2",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    run = Path(outcome.json["run"])
    config = OmegaConf.load(run / "run.yaml")
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    rates = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"] if tag.startswith("lr/")}
    assert set(rates) == {"lr/decay", "lr/no_decay", "lr/decay x0.1", "lr/no_decay x0.1"}
    for slow, fast in zip(rates["lr/decay x0.1"], rates["lr/decay"]):
        assert slow.value == pytest.approx(0.1 * fast.value, rel=1e-5)
    assert max(entry.value for entry in rates["lr/decay"]) <= config.optim.lr * (1 + 1e-6)
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]
    assert {group["name"] for group in state["param_groups"]} == {name[3:] for name in rates}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ['optim.lr_by_pattern={"*bdy*": 0.1}'],
            "optim.lr_by_pattern: no trainable parameter matches *bdy* (there are model.body.0.weight, ",
        ),
        (
            ["optim.lr_by_pattern={*head*: -1}"],
            "optim.lr_by_pattern: the factor of *head* must not be negative",
        ),
        (["optim.lr_by_pattern={*head*: fast}"], "optim.lr_by_pattern.*head*: expected float, got fast"),
        (["optim.lr_by_pattern=0.1"], "optim.lr_by_pattern: expected mapping, got 0.1"),
        (["optim.lr_by_patern={a: 1}"], "optim.lr_by_patern: unknown; did you mean lr_by_pattern?"),
        (["~optim.lr", "optim.lr_by_pattern={*head*: 2}"], "optim.lr is required beside optim.lr_by_pattern"),
    ],
)
def test_wrong_input(mlfund: Command, tmp_path: Path, arguments: list[str], message: str) -> None:  # noqa: F811
    told = mlfund("train", *SMALL, *arguments)
    assert told.code == 2
    assert message in told.err and "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []
