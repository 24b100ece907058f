"""`mlfund plan`: numbers by hand, numbers that real steps have, and a run that no machine here holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.system.conftest import Command

PEAK = '''
import json

import torch
from lightning.pytorch import Callback


class Peak(Callback):
    """Writes the most bytes that tensors had between the start of training and the first validation."""

    def on_train_start(self, trainer, module):
        held = {id(t): getattr(t, "to_local", lambda t=t: t)() for t in [*module.parameters(), *module.buffers()]}
        self.held = sum(tensor.nbytes for tensor in held.values())
        cpu = [torch.profiler.ProfilerActivity.CPU]
        self.profiler = torch.profiler.profile(activities=cpu, profile_memory=True)
        self.profiler.start()

    def on_validation_start(self, trainer, module):
        self.profiler.stop()
        events = [e for e in self.profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
        alive = most = self.held
        for event in sorted(events, key=lambda event: event.start_ns()):
            alive += event.nbytes()
            most = max(most, alive)
        with open(f"peak{trainer.global_rank}.json", "w") as file:
            json.dump(most, file)
'''
MEASURED = (
    "test=false", "references=false", "logger=none", "doctor=none", "callbacks=none",
    "+callbacks.peak._target_=peak.Peak", "trainer.max_steps=3", "trainer.limit_val_batches=1",
    "trainer.accelerator=cpu",
)  # fmt: skip
TEXT = ("task=multiclass", "data=text_lm", "model.depth=2", "model.num_heads=2")
LARGE = (
    "task=multiclass", "data=text_lm", "plan.vocabulary=32000", "data.length=4096", "data.batch_size=1",
    "model.dim=8192", "model.depth=86", "model.num_heads=64", "model.dropout=0", "model.activation_checkpointing=true",
    "trainer=fsdp", "trainer.precision=bf16-mixed", "plan.device=h100", "plan.rows=1000000",
)  # fmt: skip


@pytest.fixture
def dense(tmp_path: Path) -> tuple[str, ...]:
    """One layer of 8 numbers to 1, 32 rows at a time."""
    x = np.random.default_rng(0).normal(size=(1000, 8))
    columns = {f"x{column}": x[:, column] for column in range(8)}
    pl.DataFrame({**columns, "y": x.sum(1)}).write_csv(tmp_path / "table.csv")
    return (
        "task=regression", "data=table", f"data.path={tmp_path / 'table.csv'}", "data.target=y", "data.batch_size=32",
        "model=linear", "loss=mse",
    )  # fmt: skip


def test_a_dense_layer_by_hand(mlfund: Command, dense: tuple[str, ...]) -> None:
    outcome = mlfund("plan", *dense, "optim=sgd", "optim.momentum=0", "trainer.max_epochs=5")
    assert outcome.code == 0, outcome.err
    plan, memory = outcome.json, outcome.json["memory"]
    assert plan["parameters"] == {"total": 9, "trained": 9}
    assert (memory["parameters"], memory["gradients"], memory["optimizer_state"]) == (4 * 9, 4 * 9, 0)
    batch = 32 * (4 * 8 + 4 + 8)  # inputs, target, number of the row
    assert memory["activations"] == batch + 4 * 32 + 4  # predictions, which the loss keeps, and the loss
    assert plan["flops"] == 2 * (2 * 32 * 8)  # y = x w, and the gradient of w
    assert plan["communication"] == []
    assert plan["time"]["steps"] == 5 * 22  # of 700 rows for training
    assert plan["fits"] and plan["changes"] == [] and plan["notes"] == []
    assert plan["devices"]["name"] == "cpu"


def test_a_dense_layer_on_four_devices(mlfund: Command, dense: tuple[str, ...]) -> None:
    ddp = mlfund("plan", *dense, "optim=adamw", "trainer=ddp", "trainer.devices=4").json
    assert ddp["memory"]["gradients"] == 2 * 4 * 9  # and the bucket in which they are reduced
    assert ddp["memory"]["optimizer_state"] == 8 * 9 + 2 * 4  # two means, and a step for each of two tensors
    (reduced,) = ddp["communication"]
    assert (reduced["collective"], reduced["bytes"], reduced["wire_bytes"]) == (
        "all_reduce",
        36,
        36 * 2 * 3 // 4,
    )

    fsdp = mlfund("plan", *dense, "optim=sgd", "optim.momentum=0", "trainer=fsdp", "trainer.devices=4").json
    memory = fsdp["memory"]
    # of 1 x 8 and of 1 the first device has all, and the shards of the others are as large
    assert (memory["parameters"], memory["gradients"], memory["optimizer_state"]) == (36, 36, 0)
    gathered, scattered = fsdp["communication"]
    assert (gathered["collective"], gathered["calls"], gathered["bytes"]) == ("all_gather", 1, 4 * 36)
    assert (scattered["collective"], scattered["calls"], scattered["wire_bytes"]) == (
        "reduce_scatter",
        1,
        3 * 36,
    )
    assert (
        memory["activations"] == 32 * 44 + 4 * 32 + 4 + 4 * 36
    )  # the weights stay gathered until the backward pass


@pytest.mark.parametrize(
    ("processes", "options"),
    [
        (1, ("model.dim=256", "data.length=32", "data.batch_size=4", "optim=adamw")),  # mostly weights
        (1, ("model.dim=64", "data.length=64", "data.batch_size=16", "trainer.precision=bf16-mixed")),
        (1, ("model.dim=64", "data.length=64", "data.batch_size=16", "trainer.precision=bf16-true")),
        (
            1,
            (
                "model.dim=64",
                "data.length=64",
                "data.batch_size=16",
                "optim=sgd",
                "trainer.accumulate_grad_batches=2",
            ),
        ),
        (1, ("model.dim=64", "data.length=64", "data.batch_size=32", "model.activation_checkpointing=true")),
        (2, ("model.dim=128", "data.length=64", "data.batch_size=16", "trainer=ddp", "trainer.devices=2")),
        pytest.param(
            2,
            ("model.dim=128", "data.length=64", "data.batch_size=32", "trainer=fsdp", "trainer.devices=2"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["weights", "bf16-mixed", "bf16-true", "accumulate", "checkpointing", "ddp", "fsdp"],
)
def test_real_steps_need_what_was_planned(
    mlfund: Command, tmp_path: Path, processes: int, options: tuple[str, ...]
) -> None:
    (tmp_path / "peak.py").write_text(PEAK)
    planned = mlfund("plan", *TEXT, *options, "trainer.accelerator=cpu")
    assert planned.code == 0, planned.err
    trained = mlfund("train", *TEXT, *options, *MEASURED)
    assert trained.code == 0, trained.err
    for rank in range(processes):
        measured = json.loads((tmp_path / f"peak{rank}.json").read_text())
        assert planned.json["memory"]["training_peak"] == pytest.approx(measured, rel=0.1)


@pytest.mark.slow
def test_70_billion_parameters_on_256_devices(tmp_path: Path) -> None:
    """In a process of its own, whose memory is that of the plan."""
    code = (
        "import resource, sys; from lit_mlfund.cli import main; code = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "plan", *LARGE, "trainer.devices=8", "trainer.num_nodes=32"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    plan: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    block = 12 * 8192**2 + 13 * 8192
    total = 86 * block + 2 * 32000 * 8192 + 32000 + 2 * 8192  # blocks, embedding, head, last norm
    assert plan["parameters"]["total"] == total
    memory = plan["memory"]
    assert memory["gradients"] == pytest.approx(4 * total / 256, rel=0.001)
    assert memory["optimizer_state"] == pytest.approx(8 * total / 256, rel=0.001)
    # each token: 6 FLOPs for a weight, and 2 for those that are recomputed, which leaves out the last layer of each
    # block, a third; attention on top
    weights = 86 * 12 * 8192**2
    attention = 86 * 4 * 4096 * 8192
    least = 4096 * ((6 + 2 * 2 / 3) * weights + 6 * 32000 * 8192 + (1 + 1 + 2.5) * attention)
    assert plan["flops"] == pytest.approx(least, rel=0.01)
    # all weights are gathered for both passes, the outermost ones once; gradients are scattered once
    sent = {part["collective"]: part["bytes"] for part in plan["communication"]}
    assert sent["reduce_scatter"] == pytest.approx(4 * total, rel=0.001)
    assert sent["all_gather"] == pytest.approx(4 * (total + 86 * block), rel=0.001)
    assert plan["time"]["steps"] == 8 * 3907  # 1,000,000 windows over 256 devices, 8 epochs
    assert int(told.stderr.split()[-1]) < 4_000_000  # kB


def test_the_table_fits_a_terminal(mlfund: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    small = [*LARGE, "model.dim=64", "model.depth=2", "model.num_heads=2", "model.dropout=0.1"]
    tight = "plan.device={memory_gb:0.01,tflops:1,bandwidth:1,interconnect:1}"
    outcome = mlfund(
        "plan", *small, "data.batch_size=4", "trainer.devices=16", tight, "trainer.precision=32-true"
    )
    assert outcome.code == 0, outcome.err
    text = outcome.err.strip().splitlines()
    assert max(map(len, text)) <= 80
    joined = "\n".join(text)
    assert "on 16 described devices (fsdp, 32-true)" in joined
    assert "all_gather over 16" in joined
    assert "verdict: does not fit" in joined and not outcome.json["fits"]
    tried = [change["override"] for change in outcome.json["changes"]]
    assert {"model.dropout=0", "trainer.precision=bf16-mixed", "data.length=2048"} <= set(tried)
    assert all(f"try {override}" in joined for override in tried)


def test_lists_are_planned_without_their_loss(mlfund: Command, letor: Path) -> None:
    outcome = mlfund("plan", "task=ranking", "data=letor", f"data.path={letor}")
    assert outcome.code == 0, outcome.err
    assert outcome.json["notes"] == [
        "the loss asks for values, which a plan has not: its own memory and time are left out"
    ]


def test_a_sample_stands_for_all_rows(mlfund: Command, dense: tuple[str, ...]) -> None:
    plan = mlfund(
        "plan", *dense, "plan.rows=3_200_000", "trainer.max_epochs=2", "trainer=ddp", "trainer.devices=8"
    )
    assert plan.json["time"]["steps"] == 2 * 3_200_000 // (32 * 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "seed=0,1"], "plan looks at one configuration, without -m or --cfg"),
        (["plan.device=h1000"], "plan.device: h1000 is not in the table; did you mean h100?"),
        (["plan.devise=h100"], "plan.devise: unknown; did you mean device?"),
        (["plan.efficiency=2"], "plan.efficiency must be above 0 and at most 1, got 2.0"),
        (["plan.rows=0"], "plan.rows must be at least 1, got 0"),
        (["plan.vocabulary=100"], "plan.vocabulary: is for texts in windows, as data=text_lm"),
        (["trainer.devices=auto"], "trainer.devices: a plan needs a number, got auto"),
        (["trainer.strategy=deepspeed"], "trainer.strategy: deepspeed is not modelled; a plan knows auto, ddp and"),
        (["trainer.devices=-3"], "trainer.devices: expected a number from 1 on or auto, got -3"),
        (["embedding=sparse", "data=flights_late"], "embedding: lit_mlfund.optim.SparseTables is not modelled"),
        (["~model", "+model._target_=reads_values.Model"], "model: reads_values.Model cannot be built on the meta"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message(
    mlfund: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "reads_values.py").write_text(
        "import torch\n\nclass Model(torch.nn.Linear):\n    def __init__(self):\n"
        "        super().__init__(30, 1)\n        print(self.weight.sum().item())\n"
    )
    outcome = mlfund("plan", "task=binary", "data=breast_cancer", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] in (["reads_values.py"], ["reads_values.py", "__pycache__"],
                                                          ["__pycache__", "reads_values.py"])  # fmt: skip
