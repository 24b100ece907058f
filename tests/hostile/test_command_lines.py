"""Tries command lines, as somebody may have sent them, whose targets are not of the kind that their group builds."""

from __future__ import annotations

import pickle

import pytest

from tests.hostile.conftest import CANARY, Case
from tests.hostile.test_checkpoints import Code

LINES: dict[str, tuple[list[str], str]] = {
    "torch.load as loss": (
        ["loss._target_=torch.load", "loss.f=evil.pkl", "loss.weights_only=false"],
        "loss._target_: torch.load is not a torch.nn.Module",
    ),
    "torch.load as optimizer": (
        ["optim._target_=torch.load", "optim.f=evil.pkl", "optim.weights_only=false"],
        "optim._target_: torch.load is not a torch.optim.Optimizer",
    ),
    "numpy.load": (
        ["model._target_=numpy.load", "model.file=evil.pkl", "model.allow_pickle=true"],
        "model._target_: numpy.load is not a torch.nn.Module",
    ),
    "numpy.load as schedule": (
        ["schedule._target_=numpy.load", "schedule.file=evil.pkl", "schedule.allow_pickle=true"],
        "schedule._target_: ",
    ),
    "joblib.load": (
        ["callbacks.x._target_=joblib.load", "callbacks.x.filename=evil.pkl"],
        "callbacks.x._target_: joblib.load is not a lightning.pytorch.Callback",
    ),
    "torch.hub.load": (
        ["model._target_=torch.hub.load", "model.repo_or_dir=.", "model.model=x", "model.source=local"],
        "model._target_: torch.hub.load is not a torch.nn.Module",
    ),
    "a program": (
        ["loss._target_=os.system", f"loss.command=touch {CANARY}"],
        "loss._target_: os.system is not a torch.nn.Module",
    ),
    "a program through ours": (
        ["loss._target_=lit_mlfund.runs.execution.launch.subprocess.Popen", f"loss.args=[touch,{CANARY}]"],
        "there is no module lit_mlfund.runs.execution.launch.subprocess",
    ),
    "a writer of ours": (
        ["loss._target_=lit_mlfund.atomic.write_text", f"loss.path={CANARY}", "loss.text=x"],
        "loss._target_: lit_mlfund.atomic.write_text is not a torch.nn.Module",
    ),
    "a program inside a node": (
        [
            "loss._target_=torch.nn.MSELoss",
            f"loss.reduction={{_target_: os.system, command: touch {CANARY}}}",
        ],
        "loss.reduction._target_: os.system is not built inside a node",
    ),
    "a program inside a list": (
        [
            "model._target_=torch.nn.Sequential",
            f"+model._args_=[{{_target_: os.system, command: touch {CANARY}}}]",
        ],
        "model._args_[0]._target_: os.system is not built inside a node",
    ),
    "a function that a package of the user's only imports": (
        ["loss._target_=passing_on.system", f"loss.command=touch {CANARY}"],
        "loss._target_: passing_on.system is not a torch.nn.Module",
    ),
    "a function of the user's that builds something else": (
        ["loss._target_=passing_on.build"],
        "loss._target_: passing_on.build builds a dict, which is no torch.nn.Module",
    ),
    "a package for a command that names it itself": (["--trust", "passing_on"], "--trust: is for run=FOLDER"),
}


@pytest.mark.parametrize("name", LINES)
def test_command_lines(case: Case, name: str) -> None:
    lines, words = LINES[name]
    (case.folder / "evil.pkl").write_bytes(pickle.dumps(Code()))
    (case.folder / "hubconf.py").write_text(f"open({CANARY!r}, 'w')\n")
    (case.folder / "passing_on.py").write_text("from os import system\ndef build(): return {}\n")
    data = [
        "task=binary",
        "data=table",
        "data.path=table.csv",
        "data.target=y",
        "references=false",
        "logger=none",
    ]
    case.refused(["train", *data, "runs_dir=new", *lines], words)
