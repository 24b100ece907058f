"""What TensorBoard is given: curves of training alone, each result once, items for the projector, hyper-parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_mlfund.runs.evaluation import publish
from tests.system.conftest import Command


def test_a_retrieval_run(
    mlfund: Command, interactions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (
        "train", "task=retrieval", "data=interactions", f"data.path={interactions}", "data.user=user",
        "data.item=item", "data.time=time", "references=false", "trainer.max_epochs=3", "data.batch_size=128",
        "trainer.log_every_n_steps=2", "optim=muon", "model.dropout=0.5",
    )  # fmt: skip
    outcome = mlfund(*arguments)
    assert outcome.code == 0, outcome.err
    result = outcome.json
    folder = Path(result["run"]) / "tensorboard"
    events = EventAccumulator(str(folder)).Reload()
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert len(scalars["val/recall@10"]) == 3  # one per epoch: what is measured afterwards is no point of it
    for name, interval in result["test"].items():
        assert [entry.value for entry in scalars[f"test/{name}"]] == pytest.approx([interval["value"]])
    best = max(entry.value for entry in scalars["val/recall@10"])
    assert scalars["best/val/recall@10"][0].value == pytest.approx(best) == result["objective"]["value"]
    groups = {tag.partition("/")[2] for tag in scalars if tag.startswith("lr/")}
    assert groups == {tag.partition("/")[2] for tag in scalars if tag.startswith("momentum/")}
    assert {"decay muon", "no_decay"} <= groups
    for tag in ("gradient/norm", "gradient/clipped_share", "batch/effective_size"):
        assert tag in scalars
    assert {tag.split("/")[1] for tag in scalars if tag.startswith("weights/")} == {"norm", "update_ratio"}
    plugins = events.summary_metadata
    assert any(metadata.plugin_data.plugin_name == "hparams" for metadata in plugins.values())

    config = (folder / "projector_config.pbtxt").read_text()
    assert 'tensor_path: "00000/items/tensors.tsv"' in config
    names = (folder / "00000" / "items" / "metadata.tsv").read_text().split()
    assert sorted(names) == sorted(f"i{number}" for number in range(20))
    items = torch.from_numpy(np.loadtxt(folder / "00000" / "items" / "tensors.tsv", dtype=np.float32))
    assert torch.allclose(items.norm(dim=1), torch.ones(20), atol=1e-5)
    odd = torch.tensor([int(name[1:]) % 2 == 1 for name in names])
    within = items[odd] @ items[odd].T
    assert within.mean() > (items[odd] @ items[~odd].T).mean()  # the two tastes of the users

    monkeypatch.setattr(publish, "MAX_VECTORS", 7)
    few = mlfund(*arguments, "trainer.max_epochs=1")
    metadata = Path(few.json["run"]) / "tensorboard" / "00000" / "items" / "metadata.tsv"
    assert len(metadata.read_text().split()) == 7
