"""Augmentation of batches: what it does to known images and texts, and that it is a function of (seed, epoch, row)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_mlfund.callbacks import AugmentImages, MaskTokens
from lit_mlfund.data.serving.augment import IMAGE_DRAWS, augment_images, drop_tokens, mask_tokens
from lit_mlfund.data.serving.batch import PairBatch, PointBatch
from lit_mlfund.data.serving.random_draws import uniform


def splitmix(value: int) -> int:
    """Steele, Lea and Flood 2014, in Python's own integers."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def test_draws_are_splitmix_of_what_they_are_for() -> None:
    row = torch.tensor([0, 5, 2**40])
    drawn = uniform(row, 4, seed=7, epoch=2, stream=1)
    key = 0
    for part in (7, 1, 2):
        key = splitmix(((key ^ part) + 0x9E3779B97F4A7C15) % 2**64)
    for i, r in enumerate(row.tolist()):
        for c in range(4):
            bits = splitmix(((r * 2**20 + c) * 0x9E3779B97F4A7C15 + key) % 2**64)
            assert float(drawn[i, c]) == (bits >> 40) * 2.0**-24


def test_draws_are_even_and_differ() -> None:
    row = torch.arange(20_000)
    drawn = uniform(row, 3, seed=0, epoch=0)
    assert bool((drawn >= 0).all()) and bool((drawn < 1).all())
    counts = torch.histc(drawn, 20, 0, 1)
    assert float(((counts - 3000) ** 2 / 3000).sum()) < 50  # chi-squared of 19 degrees of freedom
    for other in ({"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}, {"seed": 0, "epoch": 0, "stream": 1}):
        correlation = np.corrcoef(drawn[:, 0], uniform(row, 3, **other)[:, 0])[0, 1]
        assert abs(correlation) < 0.03
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.03
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.03
    assert torch.equal(uniform(row[[5, 3]], 2, seed=0, epoch=0), drawn[[5, 3], :2])


MIDDLE = torch.full((1, IMAGE_DRAWS), 0.5)


def draws(**at: float) -> Tensor:
    names = ("turn", "side", "right", "down", "mirror")
    return torch.tensor([[at.get(name, 0.5) for name in names]])


@pytest.mark.parametrize("shape", [(1, 3, 9, 9), (1, 1, 8, 6)])
def test_images_of_known_draws(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    height, width = shape[-2:]

    def change(at: Tensor, **options: Any) -> Tensor:
        return augment_images(image, at, **{"shift": 0.0, "rotation": 0.0, **options})

    close = torch.testing.assert_close
    close(change(MIDDLE), image)
    close(change(draws(mirror=0.2), flip=True), image.flip(-1))
    close(change(draws(mirror=0.7), flip=True), image)
    right = change(draws(right=1.0), shift=2 / width)
    close(right[..., :-2], image[..., 2:])
    close(right[..., -2:], image[..., -1:].expand(*shape[:-1], 2))  # the edge goes on
    close(change(draws(down=0.0), shift=3 / height)[..., 3:, :], image[..., :-3, :])
    half = change(draws(turn=1.0), rotation=180.0)
    close(half, image.flip(-1, -2), rtol=1e-4, atol=1e-4)
    if height == width:
        close(change(draws(turn=1.0), rotation=90.0), image.rot90(1, (-2, -1)), rtol=1e-4, atol=1e-4)


def test_a_rotation_keeps_the_shape_of_things() -> None:
    wide = torch.zeros(1, 1, 11, 21)
    wide[..., 5, 4:17] = 1.0  # a bar of 13 pixels
    turned = augment_images(wide, draws(turn=1.0), shift=0.0, rotation=90.0)
    assert (turned[0, 0, :, 10] > 0.5).sum() == 11  # as much of it as the height has room for
    assert turned.sum() == pytest.approx(11.0, abs=0.01)


def test_a_crop_is_a_window() -> None:
    image = torch.arange(64.0).view(1, 1, 8, 8)
    corner = augment_images(image, draws(side=1.0, right=0.0, down=0.0), shift=0.0, rotation=0.0, crop=0.5)
    expected = torch.nn.functional.interpolate(image[..., :4, :4], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(corner[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


def test_tokens() -> None:
    ids = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0], [4, 0, 0, 0]])
    drawn = torch.tensor([[0.9, 0.1, 0.9, 0.0], [0.1, 0.9, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]])
    assert mask_tokens(ids, drawn, 0.5).tolist() == [[5, 0, 7, 0], [0, 9, 0, 0], [4, 0, 0, 0]]
    assert drop_tokens(ids, drawn, 0.5).tolist() == [[5, 7, 0, 0], [9, 0, 0, 0], [4, 0, 0, 0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: AugmentImages(seed=seed, flip=True, crop=0.8),
        lambda seed: MaskTokens(seed=seed, drop=0.2),
    ],
)
def test_a_row_is_changed_alike_in_any_batch(make: Any) -> None:
    callback = make(3)
    callback.names = ["x"]
    values = (
        torch.randn(40, 1, 8, 8) if isinstance(callback, AugmentImages) else torch.randint(1, 99, (40, 12))
    )
    index = torch.randperm(40)

    def changed(callback: Any, rows: Tensor, epoch: int) -> Tensor:
        callback.names = ["x"]
        return callback.transform(
            PointBatch({"x": values[rows]}, torch.zeros(len(rows)), None, rows), epoch
        ).x["x"]

    whole = changed(callback, torch.arange(40), 5)
    torch.testing.assert_close(changed(callback, index[:7], 5), whole[index[:7]], rtol=0, atol=0)
    assert not torch.equal(whole, values)
    assert not torch.equal(changed(callback, torch.arange(40), 6), whole)
    assert not torch.equal(changed(make(4), torch.arange(40), 5), whole)


def test_queries_by_pair_and_items_by_item() -> None:
    callback = MaskTokens(seed=1, mask=0.4)
    callback.names, callback.item_names = ["x"], ["x", "title"]
    ids = torch.randint(1, 99, (1, 30)).expand(6, -1)
    item_id = torch.tensor([3, 4, 3, 5, 4, 3])
    batch = PairBatch(
        {"x": ids, "history": ids},
        {"x": ids, "title": ids, "code": ids},
        item_id,
        index=torch.arange(6),
        negatives={"x": ids},
    )
    changed = callback.transform(batch, 2)
    assert isinstance(changed, PairBatch)
    query, item = changed.query["x"], changed.item["x"]
    assert len({tuple(row) for row in query.tolist()}) == 6  # each pair hides other tokens
    assert [tuple(a) == tuple(b) for a, b in zip(item[[0, 1, 0]].tolist(), item[[2, 4, 3]].tolist())] == [
        True,
        True,
        False,
    ]
    assert not torch.equal(query[3], item[0])  # pair 3 and item 3 have nothing to do with each other
    assert (changed.item["title"] == 0).any()
    assert batch.negatives is not None and changed.negatives is batch.negatives
    for kept in (changed.query["history"], changed.item["code"]):
        assert torch.equal(kept, ids)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AugmentImages(shift=1.0), "shift must be in"),
        (lambda: AugmentImages(rotation=-1.0), "rotation must be in"),
        (lambda: AugmentImages(crop=0.0), "crop must be in"),
        (lambda: MaskTokens(mask=1.0), "mask must be in"),
        (lambda: MaskTokens(drop=-0.1), "drop must be in"),
    ],
)
def test_wrong_values(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
