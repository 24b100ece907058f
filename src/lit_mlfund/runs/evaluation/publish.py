"""Adds pictures, the verdict, hyper-parameters and item embeddings to the TensorBoard folder of a finished run."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.reports import facts_text, run_text, start_text, write_card
from lit_mlfund.reports.holes import Holes
from lit_mlfund.reports.run_files import read_json
from lit_mlfund.runs.assembly.data_reuse import told_before
from lit_mlfund.runs.assembly.loggers import flat_values
from lit_mlfund.startup.streams import OUTPUT, say, say_result, warn

MAX_VECTORS = 3000  # that a browser still rotates smoothly


def report(run_dir: Path, config: DictConfig, result: dict[str, Any], trust: Iterable[str] = ()) -> None:
    """Write the card and the TensorBoard files of a run whose result is written, and print its text.

    What fails is left out and named: no failure here costs the result. `trust` names the packages of others in it.
    """
    holes = Holes()
    if result["status"] == "done":
        if config.logger.get("card", True):
            holes |= write_card(run_dir)
        with holes.leave("TensorBoard"):
            publish(run_dir, config, result)
    with holes.leave("text"):
        if not OUTPUT.brief:
            if text := run_text(run_dir, holes.lines(), trust):
                say_result(text)
            return
    for line in holes.lines():
        warn(line)


def show_start(run_dir: Path) -> None:
    """Print what a run trains on, from its `provenance.json`; of the runs of a sweep the first tells the data."""
    holes = Holes()
    with holes.leave("text of the start"):
        provenance = read_json(run_dir / "provenance.json")
        facts = facts_text(provenance["task"], provenance["data"])
        is_new = not told_before(facts)
        if OUTPUT.brief and is_new and not OUTPUT.quiet:
            say_result(facts)
        say(start_text(run_dir, facts=is_new))
    for line in holes.lines():
        say(line)


def show_facts(task: str, data: DataModule) -> None:
    """Print what the runs of a sweep will train on, before they have folders."""
    holes = Holes()
    with holes.leave("text of the start"):
        if not told_before(text := facts_text(task, data.summary)):
            say(text)
    for line in holes.lines():
        say(line)


def show_projection(run_dir: Path, config: DictConfig, module: TaskModule, data: DataModule) -> None:
    """Publish the vectors of the module, or print why that was not possible."""
    holes = Holes()
    with holes.leave("TensorBoard's projector"):
        publish_projection(run_dir, config, module, data)
    for line in holes.lines():
        say(line)


def publish(run_dir: Path, config: DictConfig, result: dict[str, Any]) -> None:
    """Add the pictures, the findings and the HParams row of a finished run to its TensorBoard folder, if it has one.

    The HParams tab gets the *best* monitored value and the test metrics, not the last ones of training.
    """
    if not config.logger.get("tensorboard"):
        return
    from torch.utils.tensorboard.summary import hparams

    from lit_mlfund.callbacks.event_files import open_events

    objective = result["objective"]
    metrics = {f"best/{objective['name']}": objective["value"]}
    metrics |= {f"test/{name}": entry["value"] for name, entry in result["test"].items()}
    metrics = {name: value for name, value in metrics.items() if value is not None}
    with open_events(run_dir / "tensorboard") as writer:
        for picture in sorted((run_dir / "pictures").glob("*.png")):
            add_picture(writer, f"pictures/{picture.stem}", picture)
        writer.add_text("verdict", _verdict(run_dir))
        for summary in hparams(flat_values(config), metrics):
            writer._get_file_writer().add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value)


def add_picture(writer: Any, tag: str, file: Path) -> None:
    """Add a PNG file as it is; `writer.add_image` would decode it and compress it again."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    png = file.read_bytes()
    width, height = struct.unpack(">II", png[16:24])  # at this position in every PNG
    image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]))


def publish_projection(run_dir: Path, config: DictConfig, module: TaskModule, data: DataModule) -> None:
    """Add the vectors of the module to TensorBoard's projector, such as the items of a retrieval run.

    A sharded model has none, as no process can run it alone.
    """
    if not config.logger.get("tensorboard") or config.trainer.get("strategy") == "fsdp":
        return
    projection = module.projection(data, MAX_VECTORS)
    if projection is None:
        return
    from lit_mlfund.callbacks.event_files import open_events

    vectors, names = projection
    with open_events(run_dir / "tensorboard") as writer:
        writer.add_embedding(vectors, names, tag="items")


def _verdict(run_dir: Path) -> str:
    findings = read_json(run_dir / "findings.json")
    lines = [f"- **{finding['name']}**: {finding['symptom']}" for finding in findings]
    return "\n".join(lines or ["no problems found"])
