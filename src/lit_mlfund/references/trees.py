"""Evaluates fitted gradient boosting from plain tensors, so that it can travel in a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.spec import DataSpec

if TYPE_CHECKING:  # it imports scikit-learn, which takes a while and is not needed here
    from lit_mlfund.references.boosting import Boosting

# HistGradientBoosting bins a feature into 255 at most; a category with more codes is target-encoded instead
MAX_NATIVE_CATEGORIES = 255
PROBABILITY_FLOOR = 1e-7
ROWS_TIMES_TREES = 2**18  # that are walked at a time: about ten MB
WORD = 32  # bits in a word of scikit-learn's sets of categories
TOLERANCE = 1e-6  # to which the trees have to predict what scikit-learn does
CHECKED_ROWS = 1000


class Trees(nn.Module):
    """Evaluates the trees of scikit-learn's HistGradientBoosting, which are its buffers.

    All nodes of all trees lie behind each other; `left` and `right` are their children's positions, and a leaf is its
    own child. A row goes to the left where its `feature` is at most the `threshold`, or is in the set `categories` of
    a split of codes, or is missing (also a code that the fit has not seen) and `missing_left` is 1. The leaf's `value`
    is added to that of the other trees of its class, and to `baseline`. Columns with more codes than a split can take
    are replaced by their `means` of the target.

    Args:
        spec: names and shapes of the inputs.
        state: as `state()` returns it: tensors, and the list `walked` of how many trees are deeper than 0, 1, … steps,
            the deepest trees being the first ones.

    Raises:
        ValueError: the state is not one of trees for these inputs.
    """

    def __init__(self, spec: DataSpec, state: dict[str, Any]):
        super().__init__()
        self.spec = spec
        self.walked = [int(number) for number in state["walked"]]
        self._names = [name for name in state if name != "walked"]
        for name in self._names:
            self.register_buffer(name, torch.as_tensor(state[name]), persistent=False)
        self._check()

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    missing_left: Tensor
    value: Tensor
    split: Tensor  # row of `categories`, -1 for a split of numbers
    categories: Tensor
    roots: Tensor  # of the trees, by depth
    sums: Tensor  # to which of the sums each tree is added
    baseline: Tensor  # of the sums: one, or one for each of several classes
    classes: Tensor
    ordinals: Tensor  # of the codes of all few-valued columns, behind each other; NaN: not seen
    means: Tensor  # of the codes of all many-valued columns, behind each other

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds, and the constructor takes."""
        return {"walked": self.walked, **{name: getattr(self, name) for name in self._names}}

    def forward(self, x: Inputs) -> Tensor:
        """Return probabilities `[B, K]` (binary too), or values `[B]`, in double precision."""
        design = self._design(x)
        rows = max(1, ROWS_TIMES_TREES // self.roots.numel())
        raw = torch.cat([self._raw(part) for part in design.split(rows)])
        if self.spec.task not in ("binary", "multiclass"):
            return raw[:, 0]
        if raw.shape[1] == 1:
            positive = raw[:, 0].sigmoid()
            part = torch.stack([1 - positive, positive], 1)
        else:
            part = raw.softmax(1)
        probability = part.new_zeros(len(part), max(self.spec.num_classes, 2))
        return probability.index_copy(1, self.classes, part)

    def _raw(self, design: Tensor) -> Tensor:
        """Walk all trees at once, shallow ones no further than their leaves, and return their sums."""
        reached = self.roots.expand(len(design), -1)
        values = []
        for number in [*self.walked, 0]:
            values.append(self.value[reached[:, number:]])
            node = reached[:, :number]
            if not number:
                break
            x = design.gather(1, self.feature[node])
            split = self.split[node]
            code = x.nan_to_num(0).long().clamp(0, self.categories.shape[1] * WORD - 1)
            word = self.categories[split.clamp_min(0), code // WORD]
            inside = (word >> (code % WORD)) & 1 == 1
            goes_left = torch.where(split < 0, x <= self.threshold[node], inside)
            goes_left = torch.where(x.isnan(), self.missing_left[node] == 1, goes_left)
            reached = torch.where(goes_left, self.left[node], self.right[node])
        by_tree = torch.cat(values[::-1], 1)
        return self.baseline.expand(len(design), -1).index_add(1, self.sums, by_tree)

    def _design(self, x: Inputs) -> Tensor:
        """Return the columns that scikit-learn's trees see: first the codes, then numbers, then means."""
        dense, few, many = self._columns(x)
        parts = [part for part in (_looked_up(few, self.ordinals), *dense, _looked_up(many, self.means))]
        # the fit rounds its rows to single precision and compares them in double
        return torch.cat([part.float().double() for part in parts if part.shape[1]], 1)

    def _columns(self, x: Inputs) -> tuple[list[Tensor], Tensor, Tensor]:
        dense: list[Tensor] = []
        codes: dict[bool, list[Tensor]] = {True: [], False: []}
        rows, device = len(next(iter(x.values()))), self.value.device
        starts = {True: 0, False: 0}
        for name, field in self.spec.inputs.items():
            if field.kind == "categorical":
                for column, size in enumerate(field.cardinalities):
                    few = size <= MAX_NATIVE_CATEGORIES
                    codes[few].append(x[name][:, column].long() + starts[few])
                    starts[few] += size
            elif field.kind != "tokens":
                dense.append(x[name].reshape(rows, -1))
        stacked = [
            torch.stack(codes[few], 1)
            if codes[few]
            else torch.empty(rows, 0, dtype=torch.long, device=device)
            for few in (True, False)
        ]
        return dense, stacked[0], stacked[1]

    def _check(self) -> None:
        """Raise ValueError for trees that would read outside of their tensors, as those of a damaged file."""
        nodes, columns = len(self.feature), self._num_columns()
        within = [(self.left, nodes), (self.right, nodes), (self.roots, nodes), (self.feature, columns)]
        within += [(self.split + 1, len(self.categories) + 1), (self.classes, max(self.spec.num_classes, 2))]
        within += [(self.sums, self.baseline.numel())]
        sizes = {len(part) for part in (self.left, self.right, self.threshold, self.value, self.split)}
        few, many = (sum(_sizes(self.spec, few)) for few in (True, False))
        if (
            any(part.numel() and not 0 <= int(part.min()) <= int(part.max()) < end for part, end in within)
            or sizes != {nodes}
            or sorted(self.walked, reverse=True) != self.walked
            or not all(0 <= number <= len(self.roots) == len(self.sums) for number in self.walked)
            or (len(self.ordinals), len(self.means)) != (few, many)
        ):
            raise ValueError("the trees of the blend do not fit the data")

    def _num_columns(self) -> int:
        dense = [field for field in self.spec.inputs.values() if field.kind not in ("categorical", "tokens")]
        numbers = sum(int(np.prod(field.shape)) for field in dense)
        many = len(_sizes(self.spec, few=False)) * self.means.shape[1]
        return len(_sizes(self.spec, few=True)) + numbers + many


def _sizes(spec: DataSpec, few: bool) -> list[int]:
    """Return the number of codes of each column with few of them, or of each with many."""
    fields = [field for field in spec.inputs.values() if field.kind == "categorical"]
    sizes = [size for field in fields for size in field.cardinalities]
    return [size for size in sizes if (size <= MAX_NATIVE_CATEGORIES) == few]


def _looked_up(codes: Tensor, table: Tensor) -> Tensor:
    """Return the entries `[B, columns · width]` of a table `[N, width]` at codes `[B, columns]`."""
    return table[codes].flatten(1)


def trees_of(boosting: Boosting, spec: DataSpec, x: Inputs) -> Trees:
    """Return fitted boosting as `Trees`.

    Args:
        boosting: fitted.
        spec: describes the data.
        x: inputs of rows, on the first of which both have to predict the same.

    Raises:
        RuntimeError: they do not: the installed scikit-learn keeps its trees in another way than is known here.
    """
    trees = Trees(spec, _state(boosting, spec))
    some = {name: values[:CHECKED_ROWS] for name, values in x.items()}
    expected, predicted = boosting.predict(some), trees(some).numpy()
    if boosting.classify:
        predicted = predicted[:, trees.classes.numpy()]
    if not np.allclose(predicted, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise RuntimeError("blend: the trees of this version of scikit-learn are kept in a way unknown here")
    return trees


def _state(boosting: Boosting, spec: DataSpec) -> dict[str, Any]:
    model = boosting.model
    predictors = [tree for iteration in model._predictors for tree in iteration]
    nodes = [tree.nodes for tree in predictors]
    sets = [tree.raw_left_cat_bitsets for tree in predictors]
    starts = np.cumsum([0, *map(len, nodes)])
    first_set = np.cumsum([0, *map(len, sets)])
    left, right, split = [], [], []
    for tree, start, first in zip(nodes, starts, first_set):
        leaf, own = tree["is_leaf"].astype(bool), np.arange(len(tree))
        left.append(start + np.where(leaf, own, tree["left"]))
        right.append(start + np.where(leaf, own, tree["right"]))
        coded = tree["is_categorical"].astype(bool) & ~leaf
        split.append(np.where(coded, first + tree["bitset_idx"].astype(np.int64), -1))
    joined = np.concatenate(nodes)
    depths = np.array([tree["depth"].max() for tree in nodes])
    order = np.argsort(-depths, kind="stable")
    classes = model.classes_ if boosting.classify else []
    columns = {
        "feature": np.where(joined["is_leaf"], 0, joined["feature_idx"]),
        "left": np.concatenate(left),
        "right": np.concatenate(right),
        "missing_left": joined["missing_go_to_left"],
        "split": np.concatenate(split),
        "categories": np.concatenate([*sets, np.zeros((1, 8), dtype=np.uint32)]),
        "roots": starts[:-1][order],
        "sums": (np.arange(len(nodes)) % len(model._predictors[0]))[order],
        "classes": np.asarray(classes),
    }
    return {
        "walked": [int((depths > step).sum()) for step in range(depths.max())],
        **{name: torch.from_numpy(values.astype(np.int64)) for name, values in columns.items()},
        "threshold": torch.from_numpy(joined["num_threshold"].astype(np.float64)),
        "value": torch.from_numpy(joined["value"].astype(np.float64)),
        "baseline": torch.from_numpy(np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1, -1)),
        "ordinals": torch.from_numpy(_ordinals(boosting, spec)),
        "means": torch.from_numpy(_means(boosting, spec)),
    }


def _ordinals(boosting: Boosting, spec: DataSpec) -> np.ndarray:
    """Return scikit-learn's number of each code of the columns with few, `[codes, 1]`; NaN for unseen ones."""
    sizes = _sizes(spec, few=True)
    tables = [np.full(size, np.nan) for size in sizes]
    if sizes:
        known = boosting.model._preprocessor.named_transformers_["encoder"].categories_
        for table, codes in zip(tables, known):
            seen = codes[~np.isnan(codes)].astype(int)
            table[seen] = np.arange(len(seen))
    return np.concatenate([*tables, np.empty(0)])[:, None]


def _means(boosting: Boosting, spec: DataSpec) -> np.ndarray:
    """Return the mean of the target of each code of the columns with many, `[codes, classes or 1]`."""
    sizes, encoder = _sizes(spec, few=False), boosting.features.encoder
    if encoder is None:
        return np.empty((0, 1))
    average = np.atleast_1d(encoder.target_mean_)
    width = len(average)
    tables = [np.tile(average, (size, 1)) for size in sizes]
    for column, (table, codes) in enumerate(zip(tables, encoder.categories_)):
        for position in range(width):
            table[codes.astype(int), position] = encoder.encodings_[column * width + position]
    return np.concatenate(tables).astype(np.float64)
