"""The command line: what is printed where, exit codes, and what is not imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund import __version__
from lit_mlfund.cli import main
from lit_mlfund.cli.help import VERBS
from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.data.reading.errors import DataError
from tests.conftest import behave

INSTALLED = str(Path(sys.executable).with_name("mlfund"))  # beside this interpreter, on the PATH or not

Calls = list[tuple[Path, bool]]
HEAVY = ("torch", "lightning", "hydra", "omegaconf", "numpy", "polars", "sklearn", "scipy", "matplotlib")


def loaded_by(*arguments: str) -> tuple[list[str], int]:
    """Heavy modules that a command has loaded when it ends, and its exit code."""
    code = (
        "import sys\nfrom lit_mlfund.cli import main\ncode = main(sys.argv[1:])\n"
        f"print('\\n' + ' '.join(name for name in {HEAVY} if name in sys.modules))\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    return done.stdout.splitlines()[-1].split(), done.returncode


def test_overrides_behind_a_flag() -> None:
    parsed = parse(["--cfg", "job", "seed=1", "-m", "optim.lr=1,2", "--config-dir", "mine", "name=x"])
    assert parsed.overrides == ["seed=1", "optim.lr=1,2", "name=x"]
    assert (parsed.show, parsed.multirun, parsed.config_dir) == (True, True, "mine")
    assert parse(["-c", "seed=1"]).overrides == ["seed=1"]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], [], ["train", "--help"], ["list", "-h"], ["--version"], ["list", "losses"], ["list"]],
)
def test_help_and_lists_import_nothing(arguments: list[str]) -> None:
    assert loaded_by(*arguments) == ([], 0)


@pytest.mark.parametrize("arguments", [["trian"], ["evaluate"], ["predict", "runs=x"], ["list", "lossses"]])
def test_mistakes_outside_a_configuration_import_nothing(arguments: list[str]) -> None:
    assert loaded_by(*arguments) == ([], 2)


def test_mistakes_in_a_configuration_import_no_torch() -> None:
    loaded, code = loaded_by("train", "optim.weigth_decay=1", "loss=bcee")
    assert set(loaded) <= {"hydra", "omegaconf"}
    assert code == 2


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in VERBS:
        assert f"\n  {verb} " in shown
        assert main([verb, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"mlfund {verb}")
        assert main(["help", verb]) == 0
        assert capsys.readouterr().out.startswith(f"mlfund {verb}")
    assert max(map(len, shown.splitlines())) <= 110


def test_the_installed_command() -> None:
    done = subprocess.run([INSTALLED, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"lit_mlfund {__version__}\n"


def test_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "task=binary"]) == 2
    assert capsys.readouterr().err == "mlfund: trian: no such command; did you mean train?\n"


def test_wrong_configuration_is_one_message(
    house: Path, executed: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "optim.weigth_decay=1", "+sede=3"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "mlfund: 2 problems",
        "  sede: unknown; did you mean seed?",
        "  optim.weigth_decay: unknown; did you mean weight_decay?",
    ]
    assert list(Path.cwd().iterdir()) == []


def test_traceback_on_request(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFUND_TRACEBACK", "1")
    assert main(["train", "sede=3"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--multrun", "--multrun: no such flag; did you mean --multirun?"),
        ("--config-dir", "--config-dir needs a folder"),
        ("-x", "-x: no such flag"),
        ("--config-dir=nowhere", "--config-dir: there is no folder nowhere"),
    ],
)
def test_flags(house: Path, capsys: pytest.CaptureFixture[str], flag: str, message: str) -> None:
    assert main(["train", "seed=0", flag]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("failed", 3), ("preempted", 143)])
def test_the_result_is_the_last_line(
    house: Path, executed: Calls, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    def run(run_dir: Path) -> dict[str, Any]:
        print("a table")
        return {"run": str(run_dir), "status": status, "reason": "diverged", "value": float("nan")}

    behave(run)
    assert main(["train", "task=regression"]) == code
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[-1]) == {
        "run": str(executed[0][0]),
        "status": status,
        "reason": "diverged",
        "value": None,
    }
    assert shown.err == ("" if code == 0 else f"mlfund: {status}: diverged\n")


def test_wrong_data_and_defects(house: Path, executed: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(run_dir: Path) -> dict[str, Any]:
        raise DataError("x.csv: no column y")

    behave(wrong)
    assert main(["train"]) == 2
    assert capsys.readouterr().err == "mlfund: x.csv: no column y\n"
    assert not executed[0][0].exists()

    def defect(run_dir: Path) -> dict[str, Any]:
        raise RuntimeError("a defect")

    behave(defect)
    assert main(["train"]) == 3
    assert "RuntimeError: a defect" in capsys.readouterr().err


def test_a_sweep(house: Path, executed: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", "seed=0,1"]) == 0
    assert [json.loads(line)["job"] for line in capsys.readouterr().out.splitlines()] == [0, 1]
    behave(lambda run_dir: {"run": str(run_dir), "status": "failed", "objective": None})
    assert main(["train", "--multirun", "seed=0,1"]) == 0  # the same again: all is done
    assert len(executed) == 2
    assert main(["train", "--multirun", "--fresh", "seed=0,1"]) == 3
    assert capsys.readouterr().err.endswith("mlfund: 2 of 2 jobs failed\n")
    (house / "experiment" / "search.yaml").write_text(
        "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '5,6,7'}}}\n"
    )
    assert main(["train", "experiment=search"]) == 3
    assert len(executed) == 7


def test_show_the_configuration(house: Path, executed: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "optim.lr=0.5"]) == 0
    assert "lr: 0.5" in capsys.readouterr().out
    assert main(["train", "--cfg", "job", "optim.lr=x"]) == 2
    assert executed == []


def test_run_again(house: Path, executed: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "name=first"]) == 0
    folder = json.loads(capsys.readouterr().out)["run"]
    assert main(["train", f"run={folder}", "name=second"]) == 0
    assert "-second-" in json.loads(capsys.readouterr().out)["run"]
    for wrong in (
        [f"run={folder}", "optim.lr=1"],
        [f"run={folder}", "-m"],
        [f"run={folder}/no"],
        [f"run={folder}", "x"],
    ):
        assert main(["train", *wrong]) == 2
        assert capsys.readouterr().err.startswith("mlfund: ")
    assert main(["train", "run=null"]) == 0  # a value of the configuration like any other
    assert len(executed) == 3


def test_only_the_first_of_several_processes_speaks(
    house: Path, executed: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert main(["train", "sede=3"]) == 2
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_a_class_beside_the_user_is_found(house: Path, executed: Calls) -> None:
    Path("mine_in_cwd.py").write_text(
        "from torch import nn\nclass Tilted(nn.Module):\n    def __init__(self, delta: float = 1.0): ...\n"
    )
    arguments = ["train", "loss._target_=mine_in_cwd.Tilted", "~loss.pos_weight", "~loss.label_smoothing"]
    path = list(sys.path)
    try:
        assert main([*arguments, "loss.delta=3"]) == 0
        assert main([*arguments, "loss.dleta=3"]) == 2
    finally:
        sys.path[:] = path
        sys.modules.pop("mine_in_cwd", None)


def test_one_thread_by_default(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    main(["--version"])
    assert os.environ["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    main(["--version"])
    assert os.environ["OMP_NUM_THREADS"] == "4"


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(f"{INSTALLED} list | head -1", shell=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_a_sweep_is_not_started_by_asking_for_its_configuration(
    house: Path, executed: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", "--cfg", "optim.lr=0.1,0.2"]) == 2
    assert "shows one configuration" in capsys.readouterr().err and not executed


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError("a defect"), 3, "RuntimeError: a defect"),
        (ConfigError("optim.lr: no"), 2, "mlfund: optim.lr: no"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_the_code_tells_who_has_to_act(
    house: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    error: BaseException, code: int, words: str,
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("lit_mlfund.cli._run", fail)
    assert main(["train"]) == code
    shown = capsys.readouterr().err
    assert words in shown and ("Traceback" in shown) == (code == 3)
