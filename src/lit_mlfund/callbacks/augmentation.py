"""Regularizes by transforming training batches; evaluation batches are never changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_mlfund.data.serving.augment import IMAGE_DRAWS, augment_images, drop_tokens, mask_tokens
from lit_mlfund.data.serving.batch import Inputs, MixedBatch, PairBatch, PointBatch
from lit_mlfund.data.serving.random_draws import uniform
from lit_mlfund.data.serving.spec import DataSpec


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")


class BatchTransform(Callback):
    """Transforms every training batch before the model sees it; subclasses implement `transform`.

    Random numbers depend on (seed, epoch, row) only, so that a resumed run repeats them.
    """

    tasks: tuple[str, ...] = ("binary", "multiclass", "regression")
    inputs: tuple[str, ...] = ()

    def __init__(self, seed: int):
        self.seed = seed
        self.names: list[str] = []  # inputs to transform
        self.item_names: list[str] = []  # inputs of items to transform, for retrieval
        self._trainer: Trainer | None = None

    def check(self, spec: DataSpec) -> None:
        """Raise ValueError if `spec` has inputs that cannot be transformed."""

    def transform(self, batch: Any, epoch: int) -> Any:
        """Return the transformed `batch` for `epoch`; `batch` itself is not modified."""
        raise NotImplementedError

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        spec: DataSpec = pl_module.spec
        self.check(spec)
        self.names = [name for name, field in spec.inputs.items() if field.kind in self.inputs]
        self.item_names = [name for name, field in spec.items.items() if field.kind in self.inputs]
        if not (self.names or self.item_names):
            raise ValueError(
                f"{type(self).__name__} needs inputs of kind {' or '.join(self.inputs)}; the data have none"
            )
        self._trainer = trainer
        pl_module.transforms.append(self._apply)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.transforms.remove(self._apply)
        self._trainer = None

    def _apply(self, batch: Any) -> Any:
        assert self._trainer is not None
        return self.transform(batch, self._trainer.current_epoch)


class AugmentImages(BatchTransform):
    """Applies random crops, shifts, small rotations and flips to whole batches; see `augment_images`.

    Logs a few images and their augmented versions to TensorBoard.

    Args:
        seed: determines the augmentation of an image, together with the epoch and the row.
        shift: largest shift, as a fraction of the side.
        rotation: largest rotation in either direction, in degrees.
        crop: smallest side of a crop, as a fraction of the image's side; 1 for no cropping.
        flip: mirror left to right with probability 1/2; not for digits and letters.
    """

    inputs = ("image",)

    def __init__(
        self,
        *,
        seed: int = 0,
        shift: float = 0.07,
        rotation: float = 10.0,
        crop: float = 1.0,
        flip: bool = False,
    ):
        super().__init__(seed)
        _check_fraction("shift", shift)
        if not 0 <= rotation <= 180:
            raise ValueError(f"rotation must be in [0, 180] degrees, got {rotation}")
        if not 0 < crop <= 1:
            raise ValueError(f"crop must be in (0, 1], got {crop}")
        self.options: dict[str, Any] = {"shift": shift, "rotation": rotation, "crop": crop, "flip": flip}

    def transform(self, batch: PointBatch, epoch: int) -> PointBatch:
        assert batch.index is not None
        draws = uniform(batch.index, IMAGE_DRAWS, seed=self.seed, epoch=epoch, stream=1)
        changed: Inputs = {name: augment_images(batch.x[name], draws, **self.options) for name in self.names}
        return replace(batch, x={**batch.x, **changed})

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        writers: list[Any] = [getattr(logger, "experiment", None) for logger in trainer.loggers]
        writers = [writer for writer in writers if hasattr(writer, "add_image")]
        store = getattr(trainer.datamodule, "stores", {}).get("train")  # type: ignore[attr-defined]
        if not writers or store is None or not trainer.is_global_zero:
            return
        batch = store.batch(torch.linspace(0, len(store) - 1, min(8, len(store))).long())
        for name in self.names:
            rows = [batch.x[name], *(self.transform(batch, epoch).x[name] for epoch in range(3))]
            rows = [row[:, : 3 if row.shape[1] >= 3 else 1] for row in rows]
            low, high = rows[0].min(), rows[0].max()
            grid = torch.cat([torch.cat(list(row), -1) for row in rows], -2)
            for writer in writers:
                writer.add_image(
                    f"augmentation/{name}", ((grid - low) / (high - low).clamp(min=1e-9)).clamp(0, 1), 0
                )


class MaskTokens(BatchTransform):
    """Masks (`mask`) or deletes (`drop`) random tokens of texts, drawn anew in every epoch.

    For retrieval, applies to both sides: queries (with their histories) and items.

    Args:
        seed: determines the affected tokens, together with the epoch, the row (or item) and the position.
        mask: probability that a token is replaced by padding, which models ignore.
        drop: probability that a token is deleted; later tokens move up.
    """

    tasks = ("binary", "multiclass", "regression", "retrieval")
    inputs = ("tokens",)

    def __init__(self, *, seed: int = 0, mask: float = 0.1, drop: float = 0.0):
        super().__init__(seed)
        _check_fraction("mask", mask)
        _check_fraction("drop", drop)
        self.mask, self.drop = mask, drop

    def transform(self, batch: PointBatch | PairBatch, epoch: int) -> PointBatch | PairBatch:
        assert batch.index is not None
        if isinstance(batch, PointBatch):
            return replace(batch, x=self._corrupt(batch.x, self.names, batch.index, epoch, (2, 3)))
        query = self._corrupt(batch.query, self.names, batch.index, epoch, (2, 3))
        return replace(
            batch, query=query, item=self._corrupt(batch.item, self.item_names, batch.item_id, epoch, (6, 7))
        )

    def _corrupt(
        self, x: Inputs, names: list[str], row: Tensor, epoch: int, streams: tuple[int, int]
    ) -> Inputs:
        """Return `x` with the inputs `names` corrupted; `row [B]` and `streams` seed the random draws."""
        changed: Inputs = {}
        for name in names:
            ids = x[name]
            for stream, corrupt, probability in zip(
                streams, (drop_tokens, mask_tokens), (self.drop, self.mask)
            ):
                if probability > 0:
                    draws = uniform(row, ids.shape[1], seed=self.seed, epoch=epoch, stream=stream)
                    ids = corrupt(ids, draws, probability)
            changed[name] = ids
        return {**x, **changed}


class Mixup(BatchTransform):
    """Trains on convex combinations of pairs of examples and of their losses.

    Source: Zhang et al. 2018, arXiv 1710.09412. Requires that all inputs are numeric or images. Draws one mixing
    coefficient per example and pairs examples of the same batch.

    Args:
        seed: determines partners and coefficients, together with the epoch and the first row of the batch.
        alpha: parameter of the coefficients' Beta(alpha, alpha) distribution: 0.1 … 0.4 mixes weakly, 1 is uniform.
    """

    inputs = ("numeric", "image")
    weighs_rows = True

    def __init__(self, *, seed: int = 0, alpha: float = 0.2):
        super().__init__(seed)
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.alpha = alpha

    def check(self, spec: DataSpec) -> None:
        unsupported = [name for name, field in spec.inputs.items() if field.kind not in self.inputs]
        if unsupported:
            raise ValueError(
                "regularization: mixup supports only numeric and image inputs, "
                f"but the data have {' and '.join(unsupported)} inputs"
            )

    def transform(self, batch: PointBatch, epoch: int) -> PointBatch:
        assert batch.index is not None
        size = len(batch)
        generator = np.random.default_rng([self.seed, epoch, int(batch.index[0]), 4])
        device = batch.y.device
        share = torch.from_numpy(generator.beta(self.alpha, self.alpha, size).astype(np.float32)).to(device)
        partner = torch.from_numpy(generator.permutation(size)).to(device)

        def mix(values: Any) -> Any:
            coefficient = share.view(-1, *(1,) * (values.ndim - 1)).to(values.dtype)
            return torch.lerp(values[partner], values, coefficient)

        return MixedBatch(
            {**batch.x, **{name: mix(batch.x[name]) for name in self.names}},
            batch.y,
            batch.weight,
            batch.index,
            batch.y[partner],
            share,
            None if batch.weight is None else batch.weight[partner],
        )
