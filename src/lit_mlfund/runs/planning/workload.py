"""Finds the shapes of the batches that a plan traces, and how many of them a training has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils import _pytree as pytree

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.signatures import declared, describe
from lit_mlfund.data.serving.batch import Batch, PointBatch
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.runs.assembly.budget import apply_budget
from lit_mlfund.runs.assembly.objects import build_data

LOOKED_AT = 8  # batches of which the largest is traced: lists differ in length


@dataclass(frozen=True)
class Workload:
    """Holds what a training serves to its devices.

    training    makes a batch for training, on one device
    validation  makes one for validation
    rows        of a batch for training (windows of a text, queries of a ranking)
    tokens      of a batch for training, where rows are sequences
    batches     of an epoch, over all devices; None where it is not known how many rows there are
    """

    spec: DataSpec
    training: Callable[[], Batch]
    validation: Callable[[], Batch]
    rows: int
    tokens: int | None
    batches: int | None


def workload(config: DictConfig) -> Workload:
    """Return the workload of a run; its data are read, unless `plan.vocabulary` describes a text.

    Numbers of the configuration that follow from the training rows are put in.

    Raises:
        ConfigError, DataError: the data are wrong, or are no text and `plan.vocabulary` is given.
    """
    if config.plan.get("vocabulary") is not None:
        return _described(config)
    data = build_data(config)
    data.setup("fit")
    num_rows = config.plan.get("rows")
    if num_rows is not None:
        data.spec = dataclasses.replace(data.spec, num_train=num_rows)
        data.size_batches()
    apply_budget(config, data)
    training, validation = data.train_dataloader(), data.val_dataloader()
    batches = _largest(training), _largest(validation)
    sequences = any(field.kind == "sequence" for field in data.spec.inputs.values())
    rows = len(batches[0])
    return Workload(
        data.spec,
        lambda: batches[0],
        lambda: batches[1],
        rows,
        rows * data.spec.inputs["tokens"].shape[0] if sequences else None,
        len(training) if num_rows is None else math.ceil(num_rows / data.batch_size),  # type: ignore[arg-type]
    )


def _largest(loader: Any) -> Any:
    """Return the largest of the first batches."""
    batches = islice(iter(loader), LOOKED_AT)
    return max(
        batches, key=lambda batch: sum(t.nbytes for t in pytree.tree_leaves(batch) if isinstance(t, Tensor))
    )


def _described(config: DictConfig) -> Workload:
    """Return the workload of a text of `plan.vocabulary` tokens, of which nothing is read."""
    if declared(config.data, "inputs") != ("sequence",):
        raise ConfigError(
            f"plan.vocabulary: is for texts in windows, as data=text_lm; {config.data._target_} has other inputs: "
            "give a file with some of the rows as data.path and the number of all of them as plan.rows"
        )
    vocabulary, length, rows = config.plan.vocabulary, config.data.length, config.data.batch_size
    spec = DataSpec(
        "multiclass",
        {"tokens": Field("sequence", (length,), cardinalities=(vocabulary,))},
        classes=tuple(map(str, range(vocabulary))),
        num_train=config.plan.get("rows") or 0,
    )
    evaluated = max(rows, describe(config.data._target_).attributes.get("eval_batch_size") or rows)

    def windows(number: int, weighted: bool) -> PointBatch:
        ids = torch.empty(number, length, dtype=torch.int64)
        weight = torch.empty(number, length) if weighted else None
        return PointBatch(
            {"tokens": ids}, torch.empty_like(ids), weight, torch.empty(number, dtype=torch.int64)
        )

    num_rows = config.plan.get("rows")
    return Workload(
        spec,
        lambda: windows(rows, weighted=False),
        lambda: windows(evaluated, weighted=True),
        rows,
        rows * length,
        None if num_rows is None else math.ceil(num_rows / rows),
    )


def num_steps(trainer: DictConfig, batches: int | None, num_devices: int) -> int | None:
    """Return the optimizer steps of a training of so many batches an epoch; None where that is not known."""
    steps = None
    if batches is not None and (trainer.get("max_epochs") or -1) > 0:
        limit = trainer.get("overfit_batches") or trainer.get("limit_train_batches", 1.0)
        each = math.ceil(batches / num_devices)
        each = int(each * limit) if isinstance(limit, float) else min(each, limit)
        steps = math.ceil(each / int(trainer.get("accumulate_grad_batches") or 1)) * int(trainer.max_epochs)
    most = trainer.get("max_steps", -1)
    if most is not None and most >= 0:
        steps = most if steps is None else min(steps, most)
    return steps
