"""Replays the step at which a training stopped, and records where the first value that is not finite comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_mlfund.atomic import whole_file
from lit_mlfund.diagnostics.evidence import NonFinite
from lit_mlfund.diagnostics.measures.first_nonfinite import Origin, first_nonfinite
from lit_mlfund.modules.sharding import is_shared
from lit_mlfund.modules.steps.guard import NonFiniteStep

MAX_ROWS = 100


class BlackBox(Callback):
    """Fills in what a replay of the step finds out, and keeps the step as `nonfinite.pt`.

    The file holds plain tensors: the batches, the states of the random number generators and the buffers before the
    step. With the weights of the run the step can be taken again from them.

    Args:
        folder: of the run.
    """

    many_steps = True

    def __init__(self, folder: Path):
        self.folder = folder
        self.found: NonFinite | None = None
        self.problem = ""

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        if not isinstance(exception, NonFiniteStep):
            return
        self.found = exception.found
        if is_shared(pl_module):
            self.problem = "the weights lie in several processes: none can take the step alone"
            return
        try:
            self.found = replay(exception, pl_module)
        except Exception as error:  # a model that cannot be observed: what happened is known, if not why
            self.problem = f"the step could not be replayed: {type(error).__name__}: {error}"
        if trainer.world_size > 1:  # every process has stopped, as all share the norm
            by_rank: list[NonFinite | None] = [None] * trainer.world_size
            torch.distributed.all_gather_object(by_rank, self.found)
            told = [found for found in by_rank if found is not None]
            self.found = next((found for found in told if found.phase != "unknown"), self.found)
        if trainer.is_global_zero:
            with whole_file(self.folder / "nonfinite.pt") as path:
                torch.save(
                    {
                        "step": exception.found.step,
                        "batches": [_plain(batch) for batch in exception.batches],
                        "random": exception.random,
                        "buffers": exception.buffers,
                    },
                    path,
                )


def replay(stopped: NonFiniteStep, module: Any) -> NonFinite:
    """Return the step with the place of its first value that is not finite; weights and generators stay as they are."""
    found = dataclasses.replace(stopped.found, weights=_largest(module.parameters()))
    for batch in stopped.batches:
        found = _with_inputs(found, batch, module.spec)
        if found.phase != "unknown":
            return found
    kept = [torch.get_rng_state()]
    stance = torch.compiler.set_stance("force_eager")
    with stance:
        try:
            _set_random(stopped.random, module.device)
            for batch in stopped.batches:
                origin = first_nonfinite(lambda batch=batch: _loss(module, batch), module)  # type: ignore[misc]
                if origin is not None:
                    return _with_origin(found, origin, batch)
        finally:
            torch.set_rng_state(kept[0])
            module.zero_grad()
            with torch.no_grad():
                for name, buffer in module.named_buffers():
                    if name in stopped.buffers:
                        buffer.copy_(stopped.buffers[name])
    return found


def _loss(module: Any, batch: Any) -> Tensor:
    loss: Tensor = module.batch_loss(batch)
    for penalty in module.penalties:
        loss = loss + penalty()
    return loss


def _set_random(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def _largest(tensors: Iterator[Tensor]) -> float:
    return max((float(part.detach().abs().max()) for part in tensors if part.numel()), default=math.nan)


def _with_inputs(found: NonFinite, batch: Any, spec: Any) -> NonFinite:
    """Look at the batch itself: a value that is not finite, and the largest one."""
    largest, column = found.largest, found.largest_column
    for fields, inputs in _inputs(batch, spec):
        for name, field in fields.items():
            values = inputs.get(name)
            if values is None or not values.is_floating_point() or not values.numel():
                continue
            bad = ~torch.isfinite(values)
            if bool(bad.any()):
                place = bad.nonzero()[0].tolist()
                named = _column(name, field, values, place)
                return dataclasses.replace(found, phase="input", column=named, rows=_file_rows(bad, batch))
            if not values.abs().max() <= largest:
                largest = float(values.abs().max())
                place = (values.abs() == values.abs().max()).nonzero()[0].tolist()
                column = _column(name, field, values, place)
    for phase, key in (("target", "y"), ("target", "relevance"), ("weights", "weight")):
        values = getattr(batch, key, None)
        if (
            isinstance(values, Tensor)
            and values.is_floating_point()
            and not bool(torch.isfinite(values).all())
        ):
            return dataclasses.replace(found, phase=phase, rows=_file_rows(~torch.isfinite(values), batch))
    return dataclasses.replace(found, largest=largest, largest_column=column)


def _inputs(batch: Any, spec: Any) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    if hasattr(batch, "x"):
        yield spec.inputs, batch.x
    for fields, key in ((spec.inputs, "query"), (spec.items, "item"), (spec.items, "negatives")):
        inputs = getattr(batch, key, None)
        if isinstance(inputs, dict):
            yield fields, inputs


def _column(name: str, field: Any, values: Tensor, place: list[int]) -> str:
    """Return the name of the column at `place` of `values [B, …, F]`; that of the input where columns have none."""
    named = field.kind == "numeric" and len(field.names) == values.shape[-1]
    return str(field.names[place[-1]]) if named else name


def _with_origin(found: NonFinite, origin: Origin, batch: Any) -> NonFinite:
    bad = torch.zeros(origin.shape[:1], dtype=torch.bool)
    if origin.shape:
        bad[origin.positions] = True
    return dataclasses.replace(
        found,
        phase=origin.phase,
        operation=origin.operation,
        layer=origin.layer,
        zero=origin.zero,
        negative=origin.negative,
        overflow=origin.overflow,
        rows=_file_rows(bad, batch) if origin.shape else [],
    )


def _file_rows(bad: Tensor, batch: Any) -> list[int]:
    """Return the rows of the file of examples with a bad value; none where its rows are no examples, or all are bad."""
    index = getattr(batch, "index", None)
    if index is None or not len(index) or bad.ndim == 0 or not len(bad) or len(bad) % len(index):
        return []
    bad = bad.unflatten(0, (-1, len(index))).any(
        0
    )  # of a model with members, whose batches follow each other
    if bool(bad.all()) and len(bad) > 1:
        return []
    index, bad = index.cpu(), bad.cpu()
    if index.ndim > 1 and bad.shape[: index.ndim] == index.shape:
        bad = bad.reshape(*index.shape, -1).any(-1)
    else:
        bad = bad.reshape(len(bad), -1).any(-1)
    rows = index[bad].flatten()
    return sorted(rows[rows >= 0].tolist())[:MAX_ROWS]


def _plain(value: Any) -> Any:
    """Return a batch as dictionaries of tensors, which `torch.load(weights_only=True)` reads."""
    if dataclasses.is_dataclass(value):
        entries = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
        return {name: _plain(part) for name, part in entries.items() if part is not None}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value.detach().clone() if isinstance(value, Tensor) else value
