"""Describes the data to a model: names, shapes, cardinalities and classes, none of them typed by hand."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Task = Literal["binary", "multiclass", "regression", "ranking", "retrieval"]
Kind = Literal["numeric", "categorical", "tokens", "sequence", "image"]


@dataclass(frozen=True)
class Field:
    """Describes one named input tensor, without its leading (batch, list) dimensions.

    kind        shape      content
    numeric     (F,)       float32, standardised; `names` are the F columns (missing indicators included)
    categorical (C,)       int64 codes; column c has codes 0 … cardinalities[c]-1, code 0 is unknown or missing
    tokens      (T,)       int64 ids 0 … cardinalities[0]-1, right-padded with 0
    sequence    (T,)       int64 ids 0 … cardinalities[0]-1 without padding; every position has its own target
    image       (C, H, W)  float32, standardised
    """

    kind: Kind
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    cardinalities: tuple[int, ...] = ()

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        return cls(state["kind"], tuple(state["shape"]), tuple(state["names"]), tuple(state["cardinalities"]))


@dataclass(frozen=True)
class DataSpec:
    """Describes one data set as models see it; `to_dict` is plain Python and is saved in checkpoints.

    inputs          the tensors of `batch.x`, or of `batch.query` for retrieval
    items           the tensors of `batch.item` (retrieval only)
    classes         labels in the order of their codes (binary: negative, positive)
    target          name of the target column
    target_mean/std of the training target (regression), for training on a standardised target
    num_items       size of the item corpus (retrieval)
    num_train       training examples (queries for ranking, pairs for retrieval)
    """

    task: Task
    inputs: dict[str, Field]
    items: dict[str, Field] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    target: str = "target"
    target_mean: float = 0.0
    target_std: float = 1.0
    num_items: int = 0
    num_train: int = 0

    @property
    def num_classes(self) -> int:
        """Return K, the number of classes of a multi-class task."""
        return len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers."""
        state = asdict(self)
        for group in ("inputs", "items"):
            for entry in state[group].values():
                for name in ("shape", "names", "cardinalities"):
                    entry[name] = list(entry[name])
        state["classes"] = list(self.classes)
        return state

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore a spec from the result of `to_dict`."""
        state = dict(state)
        for group in ("inputs", "items"):
            state[group] = {name: Field.from_dict(entry) for name, entry in state[group].items()}
        state["classes"] = tuple(state["classes"])
        return cls(**state)
