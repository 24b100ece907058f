"""What a finished run adds to its TensorBoard folder: pictures, the verdict, hyper-parameters, embeddings of items."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn.functional import normalize

from lit_mlfund.datamodules import DataModule, RetrievalDataModule
from lit_mlfund.modules import RetrievalModule, TaskModule

# groups whose values are worth a column in the HParams tab
GROUPS = ("task", "data", "model", "loss", "optim", "schedule", "regularization", "trainer")
MOST_ITEMS = 3000  # that a browser turns around smoothly


def publish(run_dir: Path, config: DictConfig, result: dict[str, Any]) -> None:
    """Add the pictures, the findings and the HParams row of a finished run to its TensorBoard folder, where it has one.

    The HParams tab gets the *best* monitored value and the test metrics, not the last ones of training.
    """
    if not config.logger.get("tensorboard"):
        return
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    objective = result["objective"]
    metrics = {f"best/{objective['name']}": objective["value"]}
    metrics |= {f"test/{name}": entry["value"] for name, entry in result["test"].items()}
    metrics = {name: value for name, value in metrics.items() if value is not None}
    with SummaryWriter(str(run_dir / "tensorboard")) as writer:
        for picture in sorted((run_dir / "pictures").glob("*.png")):
            add_picture(writer, f"pictures/{picture.stem}", picture)
        writer.add_text("verdict", _verdict(run_dir))
        for summary in hparams(_flat(config), metrics):
            writer._get_file_writer().add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value)


def add_picture(writer: Any, tag: str, file: Path) -> None:
    """Add a PNG file as it is; `writer.add_image` would take it apart and compress it again."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    png = file.read_bytes()
    width, height = struct.unpack(">II", png[16:24])  # where every PNG has them
    image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]))


def publish_items(run_dir: Path, config: DictConfig, module: TaskModule, data: DataModule) -> None:
    """Add the items of the test corpus to the projector, as the search compares them and with their names.

    Of more than `MOST_ITEMS` the most popular, or evenly spaced ones. Nothing for other tasks, and for a model in
    shards, which no process alone can run.
    """
    whole = config.trainer.get("strategy") != "fsdp"
    if not (config.logger.get("tensorboard") and whole and isinstance(module, RetrievalModule)):
        return
    assert isinstance(data, RetrievalDataModule)
    corpus, names, popularity = data.corpus("test"), data.item_names("test"), data.popularity("test")
    if len(names) <= MOST_ITEMS:
        rows = torch.arange(len(names))
    elif popularity is not None:
        rows = popularity.topk(MOST_ITEMS).indices
    else:
        rows = torch.linspace(0, len(names) - 1, MOST_ITEMS).long()
    module.eval()
    embeddings = normalize(
        module.encode_corpus({name: value[rows] for name, value in corpus.items()}), dim=-1
    )
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run_dir / "tensorboard")) as writer:
        writer.add_embedding(embeddings.cpu(), [" ".join(names[row].split()) for row in rows], tag="items")


def _verdict(run_dir: Path) -> str:
    findings = (
        json.loads((run_dir / "findings.json").read_text()) if (run_dir / "findings.json").exists() else []
    )
    lines = [f"- **{finding['name']}**: {finding['symptom']}" for finding in findings]
    return "\n".join(lines or ["nothing found that is wrong"])


def _flat(config: DictConfig) -> dict[str, Any]:
    """`optim.lr: 0.001` and the like; nodes appear by the last part of their target."""
    flat: dict[str, Any] = {"seed": config.seed}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                walk(f"{prefix}.{key}", part)
        elif prefix.endswith("._target_"):
            flat[prefix.removesuffix("._target_")] = str(value).rpartition(".")[2]
        elif value is not None:
            flat[prefix] = value if isinstance(value, (bool, int, float, str)) else str(value)

    for group in GROUPS:
        if config.get(group) is not None:  # schedule=null
            walk(group, OmegaConf.to_container(config[group], resolve=True))
    return flat
