"""Augmentation: the drawn change of each image by row and epoch, and the picture of it in TensorBoard."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_mlfund.callbacks.augmentation import AugmentImages
from lit_mlfund.data.serving.augment import IMAGE_DRAWS, augment_images
from lit_mlfund.data.serving.batch import PointBatch
from lit_mlfund.data.serving.random_draws import uniform
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import PointStore

IMAGES = torch.arange(4 * 64, dtype=torch.float32).reshape(4, 1, 8, 8) / 10 - 3


@pytest.fixture
def augment() -> AugmentImages:
    callback = AugmentImages(seed=5, shift=0.2, rotation=30.0, flip=True)
    spec = DataSpec("binary", {"image": Field("image", (1, 8, 8))}, classes=("no", "yes"))
    module: Any = SimpleNamespace(spec=spec, transforms=[])
    callback.on_fit_start(SimpleNamespace(), module)  # type: ignore[arg-type]
    return callback


@pytest.mark.parametrize("epoch", [0, 3])
def test_changes_are_drawn_by_row_and_epoch(augment: AugmentImages, epoch: int) -> None:
    index = torch.tensor([7, 2, 9, 4])
    batch = PointBatch({"image": IMAGES}, torch.zeros(4), index=index)
    draws = uniform(index, IMAGE_DRAWS, seed=5, epoch=epoch, stream=1)
    expected = augment_images(IMAGES, draws, shift=0.2, rotation=30.0, crop=1.0, flip=True)
    changed = augment.transform(batch, epoch).x["image"]
    assert torch.equal(changed, expected) and not torch.equal(changed, IMAGES)
    assert torch.equal(batch.x["image"], IMAGES)


def test_the_picture_shows_rows_before_and_after(augment: AugmentImages) -> None:
    shown: dict[str, Tensor] = {}
    writer = SimpleNamespace(add_image=lambda name, image, step: shown.update({name: image}))
    store = PointStore({"image": IMAGES}, torch.zeros(4))
    trainer: Any = SimpleNamespace(
        loggers=[SimpleNamespace(experiment=writer)],
        datamodule=SimpleNamespace(stores={"train": store}),
        is_global_zero=True,
    )
    augment.on_train_start(trainer, None)
    (grid,) = shown.values()
    assert grid.shape == (1, 4 * 8, 4 * 8)  # the images, then three epochs of them
    before = (IMAGES - IMAGES.min()) / (IMAGES.max() - IMAGES.min())
    assert torch.allclose(grid[0, :8], torch.cat(list(before[:, 0]), -1), atol=1e-6)
