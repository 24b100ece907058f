"""Compares a run that was disturbed and resumed with one that was not, to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

# Not: Lightning's own counters, which tell a resumed training from another one, and what carries seconds.
CHECKPOINT = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "lit_mlfund")
CALLBACKS = ("BestAndLast", "Progress")
RESULT = ("status", "objective", "test", "references", "findings")


def differences(run: Path, expected: Path) -> Iterator[str]:
    """Yield what differs between two run folders: weights, states, history, results, predictions."""
    for name in ("best.ckpt", "last.ckpt"):
        found, wanted = (_checkpoint(folder / "checkpoints" / name) for folder in (run, expected))
        yield from _unequal(found, wanted, name)
    for name, keys in (("result.json", RESULT), ("metrics.json", None), ("findings.json", None)):
        if name != "result.json" and not (expected / name).exists():  # without a test there is no more
            if (run / name).exists():
                yield f"{name} on one side only"
            continue
        found, wanted = (json.loads((folder / name).read_text()) for folder in (run, expected))
        if keys is not None:
            found, wanted = ({key: part.get(key) for key in keys} for part in (found, wanted))
        yield from _unequal(found, wanted, name)
    for file in sorted((expected / "predictions").glob("*.parquet")):
        if (run / "predictions" / file.name).read_bytes() != file.read_bytes():
            yield f"predictions/{file.name}"


def debris(folder: Path, run: Path, expected_folder: Path, expected: Path) -> list[str]:
    """Return the files that are too many or too few in the folder where a run was started."""
    found, wanted = _names(folder, run), _names(expected_folder, expected)
    return [f"too much: {name}" for name in sorted(found - wanted)] + [
        f"missing: {name}" for name in sorted(wanted - found)
    ]


def _names(folder: Path, run: Path) -> set[str]:
    names = {str(path.relative_to(folder)).replace(run.name, "RUN") for path in folder.rglob("*")}
    return {name if "events.out" not in name else "RUN/tensorboard/events" for name in names}


def _checkpoint(path: Path) -> dict[str, Any]:
    state = torch.load(path, weights_only=True)
    kept = {key: state.get(key) for key in CHECKPOINT}
    callbacks = state.get("callbacks", {})  # absent from the checkpoints of a stacked sweep
    return kept | {name: callbacks.get(name) for name in CALLBACKS}


def _unequal(found: Any, wanted: Any, where: str) -> Iterator[str]:
    if "seconds" in where.rpartition(".")[2]:
        return
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in {**wanted, **found}:
            if key not in found or key not in wanted:
                yield f"{where}.{key} on one side only"
            else:
                yield from _unequal(found[key], wanted[key], f"{where}.{key}")
    elif isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)):
        if len(wanted) != len(found):
            yield f"{where}: {len(found)} entries instead of {len(wanted)}"
        for number, (left, right) in enumerate(zip(found, wanted)):
            yield from _unequal(left, right, f"{where}.{number}")
    elif isinstance(wanted, torch.Tensor):
        if not (isinstance(found, torch.Tensor) and torch.equal(found, wanted)):
            yield where
    elif found != wanted and not (found != found and wanted != wanted):
        yield f"{where}: {found!r} instead of {wanted!r}"
