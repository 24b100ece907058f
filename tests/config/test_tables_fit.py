"""What cannot train tables by rows is refused before anything is built."""

from __future__ import annotations

import importlib.util

import pytest

from lit_mlfund.config.compose import Composer

ALONE = "leave one out"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["embedding=sparse"], []),
        (["embedding=sparse", "task=retrieval"], []),
        (["embedding=sparse", "optim=muon", "trainer.accumulate_grad_batches=4", "trainer=ddp"], []),
        (["embedding=sparse", "regularization=l1", "regularization.l1.parameters=top.*"], []),
        (["embedding=sparse", "regularization=ema"], []),
        (["embedding=sparse", "regularization=swa"], []),
        (
            ["embedding=sparse", "trainer=fsdp"],
            [f"embedding: SparseTables does not work with trainer.strategy=fsdp; {ALONE}"],
        ),
        (
            ["embedding=sparse", "optim=sophia"],
            [f"embedding: SparseTables does not work with optim=sophia; {ALONE}"],
        ),
        (
            ["embedding=sparse", "trainer.precision=bf16-true"],
            [
                "trainer.precision: SparseTables does not work with bf16-true; "
                "use 32-true or 64-true or bf16-mixed or 16-mixed or 32 or 64"
            ],
        ),
        (
            ["embedding=sparse", "trainer.compile=true"],
            ["trainer.compile: torch.compile does not take the tables of SparseTables; use trainer.compile=false"],
        ),
        (
            ["embedding=sparse", "task=multiclass", "model=cnn", "data=mnist5k"],
            ["embedding: CNN has image inputs only, and no tables; use embedding=dense"],
        ),
        (
            ["embedding=torchrec", "trainer.accumulate_grad_batches=2", "regularization=[l2,ema]"],
            [
                f"embedding: ShardedTables does not work with regularization=ema; {ALONE}",
                f"embedding: ShardedTables does not work with regularization=l2; {ALONE}",
                "trainer.accumulate_grad_batches: ShardedTables takes a step in every backward pass; use 1",
            ],
        ),
    ],
    ids=lambda value: " ".join(value[:2]) if value and " " not in value[0] else "",
)  # fmt: skip
def test_refused(lines: list[str], expected: list[str]) -> None:
    problems = Composer().compose(lines).problems
    assert [problem for problem in problems if " needs " not in problem] == expected


@pytest.mark.skipif(importlib.util.find_spec("torchrec") is not None, reason="torchrec is installed")
def test_a_missing_torchrec_is_reported_with_what_installs_it() -> None:
    assert Composer().compose(["model=dlrm", "embedding=torchrec"]).problems == [
        "embedding: ShardedTables needs torchrec; install it with: "
        "pip install 'lit_mlfund[torchrec]' && pip install --no-deps torchrec==1.8.0"
    ]
