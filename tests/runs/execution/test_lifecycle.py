"""A run from its overrides to its result, with the execution itself replaced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf

from lit_mlfund.atomic import WriteError
from lit_mlfund.config.compose import Composer
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.runs.execution.lifecycle import run_again, run_config
from lit_mlfund.runs.execution.run_folder import load_frozen, rewrite
from tests.conftest import behave

Calls = list[tuple[Path, bool]]


def config(*lines: str) -> dict[str, Any]:
    return Composer(None, lines).checked(lines).config


def test_executes_the_frozen_file(house: Path, executed: Calls) -> None:
    result = run_config(config("optim.lr=0.5"))
    ((folder, resume),) = executed
    assert result["run"] == str(folder)
    assert not resume
    assert folder.is_relative_to(Path.cwd() / "runs" / "binary")
    assert load_frozen(folder)["optim"]["lr"] == 0.5


@pytest.mark.parametrize(
    "error", [DataError("no y"), ConfigError("no"), WriteError("full"), MisconfigurationException("no GPU")]
)
def test_wrong_input_leaves_no_folder(house: Path, executed: Calls, error: Exception) -> None:
    def refuse(run_dir: Path) -> dict[str, Any]:
        raise error

    behave(refuse)
    with pytest.raises(type(error)):
        run_config(config())
    assert len(executed) == 1
    assert list(Path.cwd().iterdir()) == []
    Path("runs").mkdir()
    with pytest.raises(type(error)):
        run_config(config())
    assert list(Path.cwd().rglob("*")) == [Path.cwd() / "runs"]  # the user's own stays


@pytest.mark.parametrize("saved", [True, False])
def test_a_run_is_kept_when_it_has_something_to_resume_from(
    house: Path, executed: Calls, saved: bool
) -> None:
    def fill(run_dir: Path) -> dict[str, Any]:
        (run_dir / "checkpoints").mkdir()
        if saved:
            (run_dir / "checkpoints" / "last.ckpt").touch()
        raise WriteError("the disk is full")

    behave(fill)
    with pytest.raises(WriteError):
        run_config(config())
    assert executed[0][0].exists() == saved


def test_behind_the_first_step_only_a_refusing_disk_removes_a_folder(house: Path, executed: Calls) -> None:
    def fail(run_dir: Path) -> dict[str, Any]:
        (run_dir / "checkpoints").mkdir()  # made when training starts
        raise DataError("row 3 is gone")

    behave(fail)
    with pytest.raises(DataError):
        run_config(config())
    assert executed[0][0].exists()


def test_a_value_error_that_execution_did_not_call_wrong_input_is_none(house: Path, executed: Calls) -> None:
    def fail(run_dir: Path) -> dict[str, Any]:
        raise ValueError("a defect")

    behave(fail)
    with pytest.raises(ValueError, match="a defect") as raised:
        run_config(config())
    assert not isinstance(raised.value, ConfigError)
    assert executed[0][0].exists()


@pytest.mark.parametrize("state", [None, '{"status": "preempted"}', '{"status": "crashed"}', "{torn"])
def test_an_interrupted_run_is_resumed_in_its_folder(house: Path, executed: Calls, state: str | None) -> None:
    run_config(config("seed=3"))
    folder = executed[0][0]
    (folder / "result.json").unlink()
    if state is not None:
        (folder / "result.json").write_text(state)
    assert run_again(str(folder), {})["run"] == str(folder)
    assert executed[1] == (folder, True)
    with pytest.raises(
        ConfigError, match=r"name: .* was interrupted and is resumed in its own folder; leave it out"
    ):
        (folder / "result.json").unlink()
        run_again(str(folder), {"name": "other"})


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_finished_run_is_repeated_in_a_new_folder(house: Path, executed: Calls, status: str) -> None:
    run_config(config("seed=3", "optim.lr=0.5"))
    first = executed[0][0]
    (first / "result.json").write_text(json.dumps({"status": status}))
    run_again(str(first), {"name": "again", "runs_dir": "elsewhere"})
    second, resume = executed[1]
    assert not resume
    assert second.is_relative_to(Path.cwd() / "elsewhere" / "binary")
    assert "-again-" in second.name
    different = {"name", "runs_dir"}
    before, after = load_frozen(first), load_frozen(second)
    assert {key for key in before if before[key] != after[key]} == different


def test_from_another_directory(
    house: Path, executed: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_config(config("data.path=here.csv"))
    first = executed[0][0]
    relative = first.relative_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_again(str(relative), {})
    assert load_frozen(executed[1][0])["data"]["path"] == str(tmp_path / "work" / "here.csv")


def test_nothing_else_can_be_given_beside_run(house: Path, executed: Calls) -> None:
    run_config(config())
    folder = executed[0][0]
    with pytest.raises(ConfigError) as error:
        run_again(str(folder), {"optim.lr": 1, "name": "x", "seed": 3})
    rule = "a frozen run is executed as it is; beside run= only name and runs_dir can be given"
    assert error.value.problems == [f"optim.lr: {rule}", f"seed: {rule}"]
    assert len(executed) == 1


def test_a_frozen_file_that_was_edited_wrongly(house: Path, executed: Calls) -> None:
    run_config(config())
    file = executed[0][0] / "run.yaml"
    file.write_text(file.read_text().replace("label_smoothing: 0.0", "label_smothing: 0.0\nmine: {x: 1}"))
    with pytest.raises(ConfigError) as error:
        run_again(str(file.parent), {"name": "a/b"})
    assert any(
        "loss.label_smothing: unknown; did you mean label_smoothing?" in told for told in error.value.problems
    )
    assert any("name: 'a/b' cannot be" in told for told in error.value.problems)


def test_a_run_at_work_is_not_resumed(house: Path, executed: Calls) -> None:
    code = "import sys, time\nfrom pathlib import Path\nfrom lit_mlfund.runs.execution.lock import run_lock\n"
    code += "with run_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    run_config(config())
    folder = executed[0][0]
    (folder / "result.json").unlink()
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        rewrite(
            folder, OmegaConf.create(load_frozen(folder)), "words became numbers"
        )  # does not replace the lock
        with pytest.raises(ConfigError, match="run: another process is at work in"):
            run_again(str(folder), {})
        other.kill()  # a killed process holds nothing
    run_again(str(folder), {})
    assert len(executed) == 2
