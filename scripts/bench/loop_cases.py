"""The models of the loop benchmark: small ones of every kind, on random data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import ListStore, PairStore, PointStore, Store
from lit_mlfund.datamodules import DataModule
from lit_mlfund.losses import infonce_loss, lambdarank_loss
from lit_mlfund.modules.outputs import ListOutputs, Outputs, PairOutputs, PointOutputs

NUM_DOCUMENTS, NUM_USERS, NUM_ITEMS = 40, 2000, 5000
LETTERS = tuple("abcdefghij")


@dataclass(frozen=True)
class Case:
    """A model, its data and how its loss is written down by hand.

    limit       what the ratio of our step to the hand loop's is meant to stay under
    overrides   the run's configuration
    batch_size  examples of a step
    steps       of an epoch, unless told otherwise
    tensors     from the number of examples to the tensors of a `TensorDataset`
    store       the same tensors as a store
    forward     from the model and the tensors of a batch to the model's output
    criterion   from the output and the tensors to the loss
    outputs     from the output and the tensors to what the metrics are computed of
    """

    limit: float
    overrides: list[str]
    spec: DataSpec
    batch_size: int
    steps: int
    tensors: Callable[[int], tuple[Tensor, ...]]
    store: Callable[..., Store]
    forward: Callable[..., Any]
    criterion: Callable[..., Tensor]
    outputs: Callable[..., Outputs]
    corpus: dict[str, Tensor] = field(default_factory=dict)

    def loss(self, model: nn.Module, *tensors: Tensor) -> Tensor:
        """As one writes it in a loop."""
        return self.criterion(self.forward(model, *tensors), *tensors)

    def make_tensors(self, num_batches: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Examples for `num_batches` batches."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.tensors(num_batches * self.batch_size)


class CaseData(DataModule):
    """`num_batches` of training and one of validation, as one of the package's data modules."""

    tasks = ("binary", "multiclass", "ranking", "retrieval")

    def __init__(self, case: Case, num_batches: int, val_batches: int = 1) -> None:
        super().__init__(batch_size=case.batch_size, seed=0)
        self.case, self.num_batches, self.val_batches = case, num_batches, val_batches

    def build(self) -> None:
        self.spec = self.case.spec
        for seed, (split, size) in enumerate({"train": self.num_batches, "val": self.val_batches}.items()):
            self.stores[split] = self.case.store(*self.case.make_tensors(size, seed))

    def preprocessing(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass

    def corpus(self, split: str) -> dict[str, Tensor]:
        """All items, for retrieval."""
        return self.case.corpus

    def seen(self, split: str) -> None:
        """No query has seen any item."""


def numeric(width: int) -> dict[str, Field]:
    return {"numeric": Field("numeric", (width,), tuple(f"f{i}" for i in range(width)))}


def labelled(make: Callable[[int], Tensor], num_classes: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    def tensors(size: int) -> tuple[Tensor, Tensor]:
        x, y = make(size), torch.randint(num_classes, (size,))
        return x, y.float() if num_classes == 2 else y

    return tensors


def label_loss(output: Tensor, *tensors: Tensor) -> Tensor:
    y = tensors[-1]
    return F.cross_entropy(output, y) if output.ndim == 2 else F.binary_cross_entropy_with_logits(output, y)


def label_outputs(output: Tensor, *tensors: Tensor) -> PointOutputs:
    return PointOutputs(output, tensors[-1])


def points(*kinds: str) -> tuple[Callable[..., Any], ...]:
    """Store, forward, criterion and outputs of examples with a tensor of each kind and a label."""
    return (
        lambda *tensors: PointStore(dict(zip(kinds, tensors)), tensors[-1]),
        lambda model, *tensors: model(dict(zip(kinds, tensors))),
        label_loss,
        label_outputs,
    )


def dlrm_tensors(size: int) -> tuple[Tensor, ...]:
    return torch.randn(size, 13), torch.randint(1000, (size, 10)), torch.randint(2, (size,)).float()


def list_tensors(size: int) -> tuple[Tensor, ...]:
    """Lists of one length: ragged ones would favour ours, which puts lists of a length together."""
    mask = torch.ones(size, NUM_DOCUMENTS, dtype=torch.bool)
    return torch.randn(size, NUM_DOCUMENTS, 46), torch.randint(5, mask.shape).float(), mask


def list_store(x: Tensor, relevance: Tensor, mask: Tensor) -> ListStore:
    offsets = torch.cat((torch.zeros(1, dtype=torch.long), mask.sum(1).cumsum(0)))
    return ListStore({"numeric": x[mask]}, relevance[mask], offsets)


def list_forward(model: nn.Module, x: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
    return model({"numeric": x}, mask=mask)


def list_loss(scores: Tensor, x: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
    return lambdarank_loss(scores, relevance, mask)


def list_outputs(scores: Tensor, x: Tensor, relevance: Tensor, mask: Tensor) -> ListOutputs:
    return ListOutputs(scores, relevance, mask)


def pair_tensors(size: int) -> tuple[Tensor, ...]:
    return torch.randint(NUM_USERS, (size,)), torch.randint(NUM_ITEMS, (size,))


def codes(size: int) -> dict[str, Tensor]:
    return {"categorical": torch.arange(size)[:, None]}


def pair_store(user: Tensor, item: Tensor) -> PairStore:
    return PairStore(codes(NUM_USERS), codes(NUM_ITEMS), user, item)


def pair_forward(model: nn.Module, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
    return model({"categorical": user[:, None]}, {"categorical": item[:, None]})


def pair_loss(output: tuple[Tensor, Tensor], user: Tensor, item: Tensor) -> Tensor:
    return infonce_loss(*output, item_id=item)


def pair_outputs(output: tuple[Tensor, Tensor], user: Tensor, item: Tensor) -> PairOutputs:
    return PairOutputs(output[0], item)


def table(cardinality: int) -> dict[str, Field]:
    return {"categorical": Field("categorical", (1,), ("id",), (cardinality,))}


BINARY = ["task=binary", "monitor=val/loss"]
MULTICLASS = ["task=multiclass", "monitor=val/loss"]
CASES = {
    "mlp-30-64-1": Case(
        0.5,
        [*BINARY, "model=mlp", "model.hidden=[64]", "model.dropout=0"],
        DataSpec("binary", numeric(30), classes=("no", "yes")),
        256,
        300,
        labelled(lambda size: torch.randn(size, 30), 2),
        *points("numeric"),
    ),
    "mlp-256-512-512-10": Case(
        0.8,
        [*MULTICLASS, "model=mlp", "model.hidden=[512,512]", "model.dropout=0"],
        DataSpec("multiclass", numeric(256), classes=LETTERS),
        256,
        100,
        labelled(lambda size: torch.randn(size, 256), 10),
        *points("numeric"),
    ),
    "cnn-28x28": Case(
        1.0,
        [*MULTICLASS, "model=cnn", "model.channels=[8,16]", "model.dropout=0"],
        DataSpec("multiclass", {"image": Field("image", (1, 28, 28))}, classes=LETTERS),
        256,
        40,
        labelled(lambda size: torch.randn(size, 1, 28, 28), 10),
        *points("image"),
    ),
    "transformer-128": Case(
        1.05,
        [*MULTICLASS, "data=language_id", "model=text_transformer", "model.dropout=0"],
        DataSpec("multiclass", {"tokens": Field("tokens", (64,), cardinalities=(1000,))}, classes=LETTERS),
        64,
        15,
        labelled(lambda size: torch.randint(1, 1000, (size, 64)), 10),
        *points("tokens"),
    ),
    "dlrm-10": Case(
        0.8,
        [*BINARY, "model=dlrm", "model.dropout=0"],
        DataSpec(
            "binary",
            numeric(13) | {"categorical": Field("categorical", (10,), LETTERS, (1000,) * 10)},
            classes=("no", "yes"),
        ),
        1024,
        60,
        dlrm_tensors,
        *points("numeric", "categorical"),
    ),
    "lambdarank": Case(
        1.0,
        ["task=ranking", "monitor=val/loss", "model=list_mlp", "model.dropout=0", "loss=lambdarank"],
        DataSpec("ranking", numeric(46)),
        64,
        60,
        list_tensors,
        list_store,
        list_forward,
        list_loss,
        list_outputs,
    ),
    "infonce": Case(
        1.0,
        ["task=retrieval", "monitor=val/loss", "model=two_tower", "model.dim=64", "loss=infonce"],
        DataSpec("retrieval", table(NUM_USERS), table(NUM_ITEMS), num_items=NUM_ITEMS),
        512,
        60,
        pair_tensors,
        pair_store,
        pair_forward,
        pair_loss,
        pair_outputs,
        corpus=codes(NUM_ITEMS),
    ),
}
