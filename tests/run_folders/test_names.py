"""Which run a word stands for, and what is said where none or several fit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.run_folders.names import find_run

from .conftest import MakeRun


@pytest.fixture
def runs(make_run: MakeRun) -> list[Path]:
    """Four runs, the oldest first; the last two were started in the same second."""
    folders = [
        make_run("20260101-100000-binary-aaa111"),
        make_run("20260102-100000-first-0012ab", task="regression"),
        make_run("20260103-100000-binary-bbb222"),
        make_run("20260103-100000-binary-aaa333"),
    ]
    for second, folder in enumerate(folders):
        os.utime(folder / "run.yaml", (second, second))
    return folders


def sweep(root: Path, name: str, jobs: dict[int, Path | None]) -> Path:
    folder = root / "runs" / "sweeps" / name
    (folder / "jobs").mkdir(parents=True)
    for number, run in jobs.items():
        record = {"run": None if run is None else str(run), "status": "failed", "reason": "loss is unknown"}
        (folder / "jobs" / f"{number}.json").write_text(json.dumps(record))
    return folder


def test_latest_counts_back(runs: list[Path]) -> None:
    assert [find_run(word) for word in ("latest", "latest-0", "latest-1", "latest-2", "latest-3")] == [
        runs[3],
        runs[3],
        runs[2],
        runs[1],
        runs[0],
    ]
    with pytest.raises(ConfigError, match=r"run: latest-4: there are 4 runs in .*/runs"):
        find_run("latest-4")


def test_a_piece_of_a_name(runs: list[Path]) -> None:
    assert find_run("0012") == runs[1]
    assert find_run("first") == runs[1]
    assert find_run("20260101") == runs[0]


def test_a_folder_is_itself(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    assert find_run("latest") == tmp_path / "latest"
    assert find_run(f"runs/binary/{runs[0].name}/") == runs[0]
    assert find_run(str(runs[0])) == runs[0]


def test_names_in_another_folder(runs: list[Path], tmp_path: Path) -> None:
    assert find_run("runs/regression/latest") == runs[1]
    assert find_run("runs/binary/latest-2") == runs[0]
    (tmp_path / "runs").rename(tmp_path / "others")
    assert find_run("others/0012") == tmp_path / "others" / "regression" / runs[1].name
    with pytest.raises(ConfigError, match=r"run: latest: there is no folder .*/runs; name the run's folder"):
        find_run("latest")


def test_candidates_are_told(runs: list[Path]) -> None:
    with pytest.raises(ConfigError) as told:
        find_run("aaa")
    assert str(told.value) == f"run: aaa fits 2 runs: {runs[3].name}, {runs[0].name}"
    with pytest.raises(ConfigError) as told:
        find_run("zzz")
    assert "there is no folder" in str(told.value) and "no run in" in str(told.value)
    assert str(told.value).endswith(
        f"zzz in its name; the latest are {', '.join(run.name for run in reversed(runs))}"
    )


def test_many_candidates_are_counted(make_run: MakeRun) -> None:
    for number in range(11):
        make_run(f"20260101-1000{number:02}-binary-abc")
    with pytest.raises(ConfigError, match=r"abc fits 11 runs: 20260101-100010-binary-abc, .* and 3 more$"):
        find_run("abc")


def test_a_name_that_is_a_piece_of_another(make_run: MakeRun) -> None:
    short, long = make_run("mine"), make_run("mine-2")
    assert find_run("mine") == short
    assert find_run("mine-") == long


def test_job_of_a_sweep(runs: list[Path], tmp_path: Path) -> None:
    folder = sweep(tmp_path, "20260104-100000-rates-cc1111", {0: runs[0], 3: runs[2], 4: None})
    sweep(tmp_path, "20260104-110000-losses-cc2222", {0: runs[1]})
    assert find_run("rates/3") == runs[2]
    assert find_run("cc2222/0") == runs[1]
    assert find_run(f"runs/sweeps/{folder.name}/0") == runs[0]
    for word, message in {
        "rates/1": "rates/1: 20260104-100000-rates-cc1111 has no job 1; those that have ended: 0, 3, 4",
        "rates/4": "rates/4: job 4 has no folder: loss is unknown",
        "cc/0": "fits 2 sweeps: 20260104-110000-losses-cc2222, 20260104-100000-rates-cc1111",
        "nothing/0": "there is no folder .*/nothing/0, and no sweep in runs has nothing in its name",
        "nothing/x": "there is no folder .*/nothing/x$",
    }.items():
        with pytest.raises(ConfigError, match=message):
            find_run(word)


def test_job_of_a_sweep_that_was_moved(runs: list[Path], tmp_path: Path) -> None:
    sweep(tmp_path, "20260104-100000-rates-cc1111", {3: runs[2], 4: tmp_path / "runs" / "gone"})
    (tmp_path / "runs").rename(tmp_path / "other")
    moved = find_run("other/sweeps/20260104-100000-rates-cc1111/3")
    assert moved == tmp_path / "other" / "binary" / runs[2].name
    with pytest.raises(ConfigError, match=r"the folder of job 4 is gone: .*/runs/gone"):
        find_run("other/sweeps/20260104-100000-rates-cc1111/4")


def test_half_made_and_foreign_folders_are_no_runs(runs: list[Path]) -> None:
    (runs[0].parent / ".20260109-100000-binary-dd").mkdir()
    (runs[0].parent / ".20260109-100000-binary-dd" / "run.yaml").write_text("shape: binary\n")
    (runs[0].parent / "20260109-100000-binary-ee").mkdir()
    (runs[0].parent / "20260109-100000-binary-ff").mkdir()
    (runs[0].parent / "20260109-100000-binary-ff" / "run.yaml").touch()
    assert find_run("latest") == runs[3]


def test_a_run_in_the_folder_of_its_sweep(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("20260101-100000-binary-aaa111")
    folder = make_run("03-lr_0.003-seed_1", task="sweeps/20260104-100000-rates-cc1111")
    os.utime(
        folder / "run.yaml", (0, 0)
    )  # the name of the sweep tells when, wherever the folder was copied from
    assert find_run("latest") == folder
    sweep(tmp_path, "20260104-100000-rates-cc1111", {3: folder})
    assert find_run("lr_0.003-seed_1") == find_run("rates-cc1111/3") == folder
