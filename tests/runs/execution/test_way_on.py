"""The command that resumes a run can be pasted: quoted, and with the packages that it has to trust."""

from pathlib import Path

import pytest

from lit_mlfund.runs.execution.way_on import resume_command, stopped_result
from lit_mlfund.startup.signals import Stopped


@pytest.mark.parametrize(
    ("text", "trust"),
    [
        ("model: {_target_: lit_mlfund.models.MLP}\noptim: {_target_: torch.optim.SGD}\n", ""),
        ("model: {_target_: mine.Net}\nloss: {_target_: other.losses.Loss}\ndata: {x: {_target_: mine.Data}}\n",
         " --trust mine --trust other"),
        ("{damaged", ""),
    ],
)  # fmt: skip
def test_a_command_to_paste(tmp_path: Path, text: str, trust: str) -> None:
    folder = tmp_path / "a run"
    folder.mkdir()
    (folder / "run.yaml").write_text(text)
    assert resume_command(folder) == f"mlfund train 'run={folder}'{trust}"
    assert stopped_result(Stopped("stopped by a signal"), folder) == {
        "run": str(folder),
        "status": "preempted",
        "reason": f"stopped by a signal; go on with: mlfund train 'run={folder}'{trust}",
    }
