"""What cannot work together is refused before the start: one message, exit code 2, nothing written."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path

import pytest

from tests.system.conftest import Command

FAST = ("references=false", "logger=none", "trainer.max_epochs=1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["regularization=l1", "optim=schedule_free"], ["regularization.l1", "optim=schedule_free"]),
        (["regularization=[l1,ema]"], ["regularization.l1", "regularization=ema"]),
        (["regularization=augment_images"], ["regularization.augment_images", "image", "categorical"]),
        (
            ["regularization=token_masking", "task=multiclass"],
            ["regularization.token_masking", "tokens", "image"],
        ),
        (["regularization=mixup", "task=ranking"], ["regularization.mixup", "task=ranking", "multiclass"]),
        (["regularization=mixup", "task=retrieval"], ["regularization.mixup", "task=retrieval"]),
        (["schedule=reduce_on_plateau", "monitor=null"], ["monitor"]),
        (["schedule=reduce_on_plateau", "monitor=val/rmse"], ["monitor: val/rmse is not measured"]),
        (["schedule=reduce_on_plateau", "trainer.limit_val_batches=0"], ["schedule", "never measures"]),
        (["optim=adafactor", "trainer=fsdp"], ["optim: adafactor", "trainer.strategy=fsdp"]),
        (["regularization=l1", "trainer=fsdp"], ["regularization.l1", "trainer.strategy=fsdp"]),
        (
            ["data=breast_cancer", "optim.weight_decay=-1"],
            ["optim.weight_decay must not be negative, got -1"],
        ),
        (["data=breast_cancer", "regularization=l1", "regularization.l1.parameters=none*"], ["none*"]),
    ],
    ids=lambda value: " ".join(value) if "=" in value[0] else "",
)
def test_refused(mlfund: Command, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    told = mlfund("train", *arguments, *FAST)
    assert told.code == 2, told
    for word in words:
        assert word in told.err
    assert "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_references_want_the_whole_test_split(mlfund: Command, tmp_path: Path) -> None:
    told = mlfund("train", "data=breast_cancer", "trainer.limit_test_batches=2")
    assert told.code == 2 and "trainer.limit_test_batches=2" in told.err and "references=false" in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("optim", "library", "extra"),
    [
        ("lion", "pytorch_optimizer", "optim"),
        ("sophia", "pytorch_optimizer", "optim"),
        ("schedule_free", "schedulefree", "optim"),
        ("adamw8bit", "bitsandbytes", "bitsandbytes"),
    ],
)
def test_a_missing_library_names_the_extra(
    mlfund: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optim: str, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    told = mlfund("train", f"optim={optim}", "optim.lrr=1", *FAST)
    assert told.code == 2
    assert told.err.splitlines() == [
        "mlfund: 2 problems",
        "  optim.lrr: unknown; did you mean lr?",
        f"  optim: {optim} needs {library}; install it with: pip install 'lit_mlfund[{extra}]'",
    ]
    assert list(tmp_path.iterdir()) == []


def test_8_bits_for_parameters_that_are_all_small(
    mlfund: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = types.ModuleType("bitsandbytes")  # its optimizer is never asked for
    library.__spec__ = importlib.machinery.ModuleSpec("bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes", library)
    told = mlfund("train", "data=breast_cancer", "model=linear", "optim=adamw8bit", *FAST)
    assert told.code == 2
    assert "optim: adamw8bit would keep all of its state in 32 bits" in told.err and "use adamw" in told.err
    assert list(tmp_path.iterdir()) == []
