"""The blocks of docs/python.md and the cells of the notebook run as they stand, in their order."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


def cells_of(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [re.sub(r"^%matplotlib inline\n", "", source) for source in sources]


@pytest.mark.parametrize(
    "blocks",
    [blocks_of(ROOT / "docs" / "python.md"), cells_of(ROOT / "examples" / "tour.ipynb")],
    ids=["page", "tour"],
)
def test_it_runs(blocks: list[str], tmp_path: Path) -> None:
    assert len(blocks) >= 5
    script = tmp_path / "blocks.py"
    script.write_text("\n\n".join(blocks))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
