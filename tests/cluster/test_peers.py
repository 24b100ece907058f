"""Processes of a launcher agree, watch each other, and end together: with stand-ins for what they train."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

# Ends as its second argument says, where its rank is the first one; the others wait for ever.
PROCESS = """
    import os, signal, sys, time
    from pathlib import Path
    from lit_mlfund.cluster.peers import joined
    from lit_mlfund.config.errors import ConfigError

    def tell(verdict):
        print("told:", verdict["code"], verdict["text"], flush=True)
        return verdict["code"]

    rank, how = sys.argv[1:]
    own = os.environ.get("SLURM_PROCID") or os.environ["RANK"]
    if how == "missing" and own == rank:
        sys.exit(0)
    here = Path(sys.argv[0]).parent  # how long they take to start does not matter
    (here / f"started{own}").touch()
    while len(list(here.glob("started*"))) < int(os.environ.get("STARTED", 0)):
        time.sleep(0.05)

    def decide():
        if how == "undecided":
            raise ConfigError("there is no such file")
        return {"by": own}

    with joined(tell) as peers:
        try:
            decided = peers.agree(decide)
        except ConfigError as error:
            peers.leave(2, str(error))
            sys.exit(2)
        print("agreed on", decided["by"], os.environ["RANK"], os.environ["WORLD_SIZE"], flush=True)
        if how == "done":
            peers.leave(0)
        elif own != rank:
            if how == "signal":
                time.sleep(1)
                peers.leave(143)
                time.sleep(1)  # it writes
                (here / "written").touch()
                os._exit(143)
            time.sleep(600)
        elif how == "raise":
            peers.leave(1, "row 7 is broken")
            sys.exit(1)
        elif how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif how == "signal":
            peers.leave(143)
            print("left", "behind" if (here / "written").exists() else "before", "the first", flush=True)
            sys.exit(143)
"""


def outcome(folder: Path, rank: int, how: str, size: int = 2) -> list[tuple[int, list[str]]]:
    """Return the exit code and the lines of each of some processes of srun."""
    script = folder / "process.py"
    script.write_text(textwrap.dedent(PROCESS))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MASTER_"))
    }
    environment |= {
        "SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "1", "SLURM_STEP_NUM_TASKS": str(size),
        "SLURMD_NODENAME": "here", "MLFUND_PATIENCE": "5",
        "STARTED": str(size - (how == "missing")), "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), how],
            env=environment | {"SLURM_PROCID": str(own)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for own in reversed(range(size))
    ]
    told = [process.communicate(timeout=60) for process in processes]
    assert [err for _, err in told] == [""] * size
    return [(process.returncode, out.splitlines()) for process, (out, _) in zip(processes, told)][::-1]


def test_they_agree_and_end(tmp_path: Path) -> None:
    assert outcome(tmp_path, 0, "done", 3) == [(0, [f"agreed on 0 {rank} 3"]) for rank in range(3)]


def test_nobody_goes_on_where_the_first_cannot_decide(tmp_path: Path) -> None:
    assert outcome(tmp_path, 0, "undecided") == [(2, []), (2, [])]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        (
            "kill",
            -signal.SIGKILL,
            "rank {} of 2 on here was ended from outside, as a machine does that is out of memory",
        ),
        ("stop", -signal.SIGKILL, "rank {} of 2 on here is stopped"),
    ],
)
def test_one_that_is_lost_ends_all_and_one_of_the_others_tells_it(
    tmp_path: Path, how: str, code: int, text: str, rank: int
) -> None:
    started = time.monotonic()
    told = outcome(tmp_path, rank, how)
    assert time.monotonic() - started < 40
    assert told[rank] == (code, [f"agreed on 0 {rank} 2"])
    assert told[1 - rank] == (3, [f"agreed on 0 {1 - rank} 2", "told: 3 " + text.format(rank)])


def test_one_that_fails_ends_all(tmp_path: Path) -> None:
    assert outcome(tmp_path, 1, "raise") == [
        (1, ["agreed on 0 0 2", "told: 1 row 7 is broken"]),
        (1, ["agreed on 0 1 2"]),
    ]


def test_one_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    told = outcome(tmp_path, 2, "missing", 3)
    text = "told: 3 rank 2 of 3 did not come within 5 seconds"
    assert told == [(3, ["agreed on 0 0 3", text]), (3, ["agreed on 0 1 3"]), (0, [])]


def test_the_first_one_is_waited_for_and_given_up(tmp_path: Path) -> None:
    told = outcome(tmp_path, 0, "missing")
    assert told[0] == (0, [])
    assert told[1][0] == 3
    (line,) = told[1][1]
    assert line.startswith("told: 3 rank 0 of 2 does not answer at 127.0.0.1:")
    assert line.endswith(" within 5 seconds")


def test_one_that_is_stopped_by_a_signal_ends_behind_the_first(tmp_path: Path) -> None:
    """Else a launcher that kills behind the first exit code would kill rank 0 while it writes."""
    first, second = outcome(tmp_path, 1, "signal")
    assert first == (143, ["agreed on 0 0 2"])
    assert second == (143, ["agreed on 0 1 2", "left behind the first"])


def test_processes_of_torchrun_agree(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(textwrap.dedent(PROCESS))
    agent = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    told = subprocess.run(
        [*agent, str(script), "0", "done"], check=True, timeout=120, capture_output=True, text=True
    )
    assert sorted(told.stdout.splitlines()) == ["agreed on 0 0 2", "agreed on 0 1 2"]


def test_patience_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit_mlfund.cluster.peers import joined
    from lit_mlfund.config.errors import ConfigError

    for name, value in {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "MLFUND_PATIENCE": "soon"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match="MLFUND_PATIENCE: expected a number of seconds, got 'soon'"),
        joined(lambda verdict: 0),
    ):
        pass
