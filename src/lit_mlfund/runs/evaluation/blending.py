"""Blends a trained network with gradient boosting: the share is chosen on validation and kept in the checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from lit_mlfund.callbacks.checkpoint_file import WholeFileCheckpointIO, read_checkpoint
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.serving.mapped import Mapped
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.base import LATER_FORMAT
from lit_mlfund.references.blend import CRITERIA, SHARES, Blend, averaged, best_share
from lit_mlfund.references.fitting import Fitting, fitted
from lit_mlfund.references.trees import Trees
from lit_mlfund.runs.evaluation.measure import shown_fitting
from lit_mlfund.startup.environment import is_first_process

NAME = "gradient_boosting"


def require_rows(data: DataModule) -> None:
    """Raise DataError for data on which boosting cannot be fitted as a whole."""
    if isinstance(data.stores["train"], Mapped):
        raise DataError(
            "blend: boosting needs all training rows in memory, and data.cache keeps them on the disk; "
            "use blend=null, or data.cache=null where they fit"
        )


def blend_checkpoints(
    trainer: Trainer,
    module: TaskModule,
    data: DataModule,
    checkpoints: dict[str, Path],
    seed: int,
    fitting: Fitting,
) -> dict[str, dict[str, Any]]:
    """Blend the network of each checkpoint with boosting, and write the blend into the file.

    Boosting is fitted once, like the reference and in its stead, on the first of several processes.

    Args:
        checkpoints: files by name.
        seed: seed of the boosting's hold-out.
        fitting: limits the time of its fit; where it takes longer the checkpoints stay as they are.

    Returns:
        By name of the checkpoint: the `share` of the network, the `metric` that chose it, its `values` by share, and
        all metrics of the `validation` rows; or, under `left_out`, why there is no blend.
    """
    from lit_mlfund.references.boosting import Boosting  # imports scikit-learn, which takes a while
    from lit_mlfund.references.trees import trees_of

    state, reason = None, ""
    if is_first_process():
        train = data.stores["train"]
        assert isinstance(train, PointStore)
        with shown_fitting(fitting):
            module.boosting = fitted(NAME, lambda: Boosting(data.spec, seed).fit(train.x, train.y.numpy()))
        reason = fitting.left_out.get(NAME, "")
        if module.boosting is not None:
            state = trees_of(module.boosting, data.spec, train.x).state()
    state, reason = _from_first([state, reason])
    if state is None:
        return {name: {"left_out": reason} for name in checkpoints}
    trainer.loggers = []  # evaluations after training are not part of its curves
    trees = Trees(data.spec, state)
    blends = {}
    for name, path in checkpoints.items():
        options: dict[str, Any] = {"datamodule": data, "verbose": False, "weights_only": True}
        trainer.validate(module, ckpt_path=str(path), **options)
        module.blend = None
        network = module.collected["val"]
        module.blend = Blend(trees, 0)
        trainer.validate(module, **options)
        blends[name] = _choose(module, network, module.collected["val"].output)
        module.blend = Blend(trees, blends[name]["share"])
        if is_first_process():
            _write(path, module.blend)
    _from_first([])  # wait until the files are written
    return blends


def _choose(module: TaskModule, network: Any, trees: torch.Tensor) -> dict[str, Any]:
    """Return the share with the best metric on the validation rows."""
    metric = CRITERIA[module.task]
    measured = {}
    for share in SHARES:
        output = averaged(network.output, trees, share, module.task).float()
        measured[share] = module.evaluate(network.with_flat_output(output), "val").values()
    share = best_share({share: values[metric] for share, values in measured.items()})
    return {
        "share": share,
        "metric": metric,
        "values": {f"{share:g}": measured[share][metric] for share in sorted(SHARES)},
        "validation": measured[share],
    }


def _write(path: Path, blend: Blend) -> None:
    checkpoint = read_checkpoint(path)
    state = blend.state()
    tensors = {
        name: value.cpu() if hasattr(value, "cpu") else value for name, value in state["trees"].items()
    }
    checkpoint["lit_mlfund"] |= {"format": LATER_FORMAT, "blend": {**state, "trees": tensors}}
    WholeFileCheckpointIO().save_checkpoint(checkpoint, path)


def _from_first(values: list[Any]) -> list[Any]:
    """Return the values of the first process on all of them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(values := values or [None])
    return values
