"""`mlfund lr-find`, and `optim.lr=auto`, which is a run with the number that it finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.system.conftest import Command

SMALL = ("task=binary", "data=breast_cancer", "model=linear", "references=false", "trainer.max_epochs=2")


def test_a_number_with_its_reason_and_a_picture(mlfund: Command, tmp_path: Path) -> None:
    found = mlfund("lr-find", *SMALL, "regularization=[l1,ema,mixup]", "~regularization.ema")
    assert found.code == 0, found.err
    assert found.json["override"] == f"optim.lr={found.json['lr']:g}"
    assert 1e-4 < found.json["lr"] < 1.0
    assert "smoothed loss was lowest" in found.json["reason"]
    picture = Path(found.json["picture"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.parent.parent == tmp_path / "runs" / "lr_find"
    assert list((picture.parent / "tensorboard").iterdir())
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["lr_find"]  # no run was made


def test_auto_is_the_run_with_that_number(mlfund: Command, tmp_path: Path) -> None:
    found = mlfund("lr-find", *SMALL, "optim=sgd").json
    auto = mlfund("train", *SMALL, "optim=sgd", "optim.lr=auto")
    assert auto.code == 0, auto.err
    run = Path(auto.json["run"])
    frozen = (run / "run.yaml").read_text()
    assert yaml.safe_load(frozen)["optim"]["lr"] == found["lr"]
    assert frozen.startswith("# mlfund train ") and f"\n# optim.lr was auto: {found['reason']}\n" in frozen
    assert json.loads((run / "provenance.json").read_text())["lr_find"]["lr"] == found["lr"]
    assert (run / "pictures" / "lr_find.png").exists()
    given = mlfund("train", *SMALL, "optim=sgd", f"optim.lr={found['lr']}")
    weights: list[dict[str, Any]] = [
        torch.load(Path(told.json["run"]) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for told in (auto, given)
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    again = mlfund("train", f"run={run}")  # with the number: nothing is looked for a second time
    assert again.code == 0, again.err
    assert not (Path(again.json["run"]) / "lr_find.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lr-find", "optim.lr_=1"], "optim.lr_: unknown; did you mean lr?"),
        (["lr-find", "-m", "seed=0,1"], "lr-find looks at one configuration"),
        (["lr-find", "run=some/run"], "run: is for train; lr-find takes the options of the run instead"),
        (["train", "optim.lr=atuo"], "optim.lr: expected float, got atuo"),
        (["train", "optim.lr=auto", "trainer.devices=2"], "optim.lr: auto looks for the rate in one process"),
        (["train", "optim.weight_decay=auto"], "optim.weight_decay: expected float, got auto"),
        (["lr-find", "data=table", "data.path=no.csv", "data.target=y", "data.task=binary"], "no.csv"),
    ],
)
def test_wrong_input(mlfund: Command, tmp_path: Path, arguments: list[str], message: str) -> None:
    told = mlfund(*arguments)
    assert told.code == 2
    assert message in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_learn(mlfund: Command, tmp_path: Path) -> None:
    (tmp_path / "noise.csv").write_text("a,y\n" + "".join(f"1,{i % 2}\n" for i in range(200)))
    told = mlfund("lr-find", "data=table", "data.path=noise.csv", "data.target=y", "model=linear")
    assert told.code in (0, 2)
    if told.code == 2:
        assert told.err.startswith("mlfund: ")
