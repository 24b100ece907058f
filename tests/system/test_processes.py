"""Two processes, started from the frozen file: each row counts once, and the weights are one model's."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.system.conftest import Command


@pytest.mark.parametrize(("trainer", "regularization"), [("ddp", "[ema,mixup]"), ("fsdp", "mixup")])
def test_two_processes(mlfund: Command, trainer: str, regularization: str) -> None:
    outcome = mlfund(
        "train", "task=binary", "data=breast_cancer", f"trainer={trainer}", "trainer.accelerator=cpu",
        "trainer.devices=2", "trainer.max_epochs=2", "references=false", "logger=none", "data.batch_size=64",
        f"regularization={regularization}",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert result["status"] == "done"
    rows = pl.read_parquet(Path(result["run"]) / "predictions" / "test.parquet")["row"]
    assert rows.n_unique() == len(rows) == 86
    # a checkpoint of many processes serves in one
    torch.load(Path(result["run"]) / "checkpoints" / "best.ckpt", weights_only=True)
    measured = mlfund("evaluate", f"run={result['run']}")
    assert measured.code == 0, measured.err
    assert measured.json["metrics"]["auroc"]["value"] == pytest.approx(result["test"]["auroc"]["value"])


@pytest.mark.parametrize(
    ("trainer", "regularization"),
    [
        ("ddp", ("l1", "l2", "augment_images")),
        pytest.param("fsdp", ("l2", "augment_images"), marks=pytest.mark.slow),
    ],
)
def test_regularization_on_two_processes_is_that_of_one(
    mlfund: Command, trainer: str, regularization: tuple[str, ...]
) -> None:
    arguments = (
        "train", "task=multiclass", "data=digits", "model=mlp", "model.hidden=[32]", "model.dropout=0.3", "optim=sgd",
        "optim.lr=0.05", "trainer.max_epochs=1", "references=false", "test=false",
        f"regularization=[{','.join(regularization)}]",
        *(f"regularization.{name}.strength=0.1" for name in regularization if name != "augment_images"),
    )  # fmt: skip
    weights, norms = [], []
    for processes in (("trainer=cpu", "data.batch_size=128"), (f"trainer={trainer}", "data.batch_size=64")):
        outcome = mlfund(*arguments, *processes, "trainer.accelerator=cpu")
        assert outcome.code == 0, outcome.err
        events = EventAccumulator(str(Path(outcome.json["run"]) / "tensorboard")).Reload()
        tags = [
            tag for tag in events.Tags()["scalars"] if tag.startswith(("weights/", "momentum/", "batch/"))
        ]
        norms.append({tag: [entry.value for entry in events.Scalars(tag)] for tag in tags})
        last = Path(outcome.json["run"]) / "checkpoints" / "last.ckpt"
        weights.append(torch.load(last, weights_only=True)["state_dict"])
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)
    assert norms[0].keys() == norms[1].keys() and "weights/update_ratio/head" in norms[0]
    for tag, values in norms[0].items():
        assert norms[1][tag] == pytest.approx(values, rel=1e-4), tag
    if "l1" in regularization:
        zeros = weights[0]["model.body.0.weight"] == 0
        assert 0.05 < zeros.float().mean() < 0.95


@pytest.mark.parametrize("embedding", ["dense", "sparse"])
def test_masked_tokens_and_averaged_weights_on_two_processes_are_those_of_one(
    mlfund: Command, tmp_path: Path, embedding: str
) -> None:
    colours, animals = ("red", "green", "blue", "brown"), ("cat", "dog", "owl", "bat", "hen")
    texts = [f"{colours[i % 4]} {animals[i % 5]} number {i} of many" for i in range(512)]
    split = ["train"] * 384 + ["val"] * 64 + ["test"] * 64
    frame = pl.DataFrame({"text": texts, "label": [i % 3 for i in range(512)], "split": split})
    frame.write_csv(tmp_path / "texts.csv")
    averages, weights = [], []
    for processes in (("trainer=cpu", "data.batch_size=32"), ("trainer=ddp", "trainer.devices=2")):
        outcome = mlfund(
            "train", "task=multiclass", "data=text", "data.path=texts.csv", "data.text=text", "data.target=label",
            "data.split=split", "data.vocab_size=256", "data.batch_size=16", f"embedding={embedding}",
            "model.dropout=0", "optim=sgd", "optim.lr=0.3", "trainer.max_epochs=2", "trainer.accelerator=cpu",
            "references=false", "test=false", "logger=none", "regularization=[swa,token_masking]",
            "regularization.swa.start=0.5", "regularization.token_masking.mask=0.3",
            "regularization.token_masking.drop=0.1", *processes,
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        last = torch.load(Path(outcome.json["run"]) / "checkpoints" / "last.ckpt", weights_only=True)
        (swa,) = [state for name, state in last["callbacks"].items() if name.startswith("SWA")]
        assert swa["count"] == 12  # those of the second epoch
        averages.append(last["state_dict"])
        weights.append(swa["weights"])
    for one, two in (averages, weights):
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)
    assert any((averages[0][name] - value).abs().max() > 1e-3 for name, value in weights[0].items())
