"""Images from folders and tables: pixels, standardisation, splits, serving, bad input."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules.images import ImagesDataModule


def pictures(count, shape=(6, 6), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def folder(root, counts, shape=(6, 6), seed=0):
    """A folder per class; returns path -> pixels."""
    made = {}
    for number, (label, count) in enumerate(counts.items()):
        (root / label).mkdir(parents=True)
        for i, pixels in enumerate(pictures(count, shape, seed + number)):
            file = root / label / f"{i:03}.png"
            Image.fromarray(pixels).save(file)
            made[str(file)] = pixels
    return made


def module(path, task="multiclass", **options):
    return ImagesDataModule(task=task, path=str(path), **options)


def built(path, **options):
    data = module(path, **options)
    data.setup()
    return data


def whole(store):
    return store.batch(torch.arange(len(store)))


@pytest.mark.parametrize("shape", [(6, 6), (5, 8), (6, 6, 3)])
def test_a_folder_per_class_is_read_and_standardised(tmp_path, shape):
    made = folder(tmp_path, {"cat": 20, "dog": 40, "owl": 20}, shape)
    data = built(tmp_path)
    channels_first = shape if len(shape) == 2 else (3, *shape[:2])
    assert data.spec.inputs["image"].shape == ((1, *shape) if len(shape) == 2 else channels_first)
    assert data.spec.classes == ("cat", "dog", "owl")
    assert sum(len(store) for store in data.stores.values()) == 80
    assert whole(data.stores["test"]).y.bincount().tolist() == [3, 6, 3]  # classes alike
    files, seen = sorted(made), []
    train = np.stack([made[files[i]] for i in data.stores["train"].index.tolist()]).astype(float)
    axes = (0, 1, 2)
    mean, std = train.mean(axes), train.std(axes)
    for store in data.stores.values():
        batch = whole(store)
        assert batch.x["image"].dtype == torch.float32
        for image, y, row in zip(batch.x["image"], batch.y, batch.index.tolist()):
            assert f"/{data.spec.classes[y]}/" in files[row]
            expected = (made[files[row]] - mean) / std
            expected = expected[None] if len(shape) == 2 else expected.transpose(2, 0, 1)
            np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)
            seen.append(row)
    assert sorted(seen) == list(range(80))


def test_what_was_read_is_summarised(tmp_path):
    folder(tmp_path, {"cat": 20, "dog": 40}, (5, 8))
    summary = built(tmp_path, task="binary").summary
    assert sum(summary["rows"].values()) == 60 and set(summary["rows"]) == {"train", "val", "test"}
    assert summary["shape"] == [1, 5, 8] and summary["target"]["column"] == "label"
    assert sum(summary["target"]["classes"].values()) == summary["rows"]["train"]


def test_split_folders_are_kept(tmp_path):
    folder(tmp_path / "train", {"a": 10, "b": 10})
    folder(tmp_path / "Valid", {"a": 3, "b": 4}, seed=10)
    data = built(tmp_path, task="binary")
    assert len(data.stores["val"]) == 7
    assert len(data.stores["train"]) + len(data.stores["test"]) == 20
    folder(tmp_path / "test", {"b": 5}, seed=20)
    data = built(tmp_path, task="binary")
    assert {split: len(store) for split, store in data.stores.items()} == {"train": 20, "val": 7, "test": 5}
    assert whole(data.stores["test"]).y.tolist() == [1.0] * 5


def test_images_are_resized_as_pillow_does_and_modes_are_made_alike(tmp_path):
    folder(tmp_path, {"a": 8, "b": 8}, (9, 12))
    colour = pictures(1, (10, 10, 3))[0]
    Image.fromarray(colour).save(tmp_path / "a" / "000.png")
    deep = (np.arange(100).reshape(10, 10) * 600).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "b" / "000.png")
    data = built(tmp_path, size=4, batch_size=4)
    pixels = {int(i): p for s in data.stores.values() for i, p in zip(s.index, s.x["image"])}
    expected = np.asarray(Image.fromarray(colour).resize((4, 4), Image.Resampling.BILINEAR))
    assert np.array_equal(pixels[0].permute(1, 2, 0).numpy(), expected)
    deep8 = Image.fromarray(np.rint(deep / 257).astype(np.uint8))
    expected = np.asarray(deep8.resize((4, 4), Image.Resampling.BILINEAR))
    assert all(np.array_equal(channel.numpy(), expected) for channel in pixels[8])


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["bytes", "struct", "pixels", "unit pixels", "paths"])
def test_tables_of_images(tmp_path, form):
    values = pictures(40, (5, 5, 3))
    label = [i % 2 for i in range(40)]
    if form in ("bytes", "struct"):
        column = pl.Series("picture", [encoded(v) for v in values])
        frame = pl.DataFrame({"picture": column, "label": label, "id": range(40)})
        if form == "struct":
            frame = frame.with_columns(pl.struct(bytes="picture", path=pl.lit("")).alias("picture"))
    elif form == "paths":
        (tmp_path / "files").mkdir()
        for i, v in enumerate(values):
            Image.fromarray(v).save(tmp_path / "files" / f"{i}.png")
        frame = pl.DataFrame({"image": [f"files/{i}.png" for i in range(40)], "label": label})
    else:
        flat = values.reshape(40, -1) / (255 if form == "unit pixels" else 1)
        frame = pl.DataFrame({f"p{i}": flat[:, i] for i in range(75)} | {"label": label})
    frame.write_parquet(tmp_path / "images.parquet")
    data = built(tmp_path / "images.parquet", task="binary", batch_size=8)
    for store in data.stores.values():
        pixels = store.x["image"].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(pixels, values[store.index])
        assert store.y.tolist() == [row % 2 for row in store.index.tolist()]


def test_training_images_are_decoded_once(tmp_path, monkeypatch):
    folder(tmp_path, {"a": 10, "b": 10})
    counts = []
    from lit_mlfund.data.preprocessing import image_features

    real = image_features.read_images
    monkeypatch.setattr(
        image_features, "read_images", lambda s, *rest: counts.append(len(s)) or real(s, *rest)
    )
    data = built(tmp_path)
    assert sorted(counts) == sorted(len(store) for store in data.stores.values())


def test_a_state_alone_serves_new_images(tmp_path):
    folder(tmp_path / "old", {"a": 10, "b": 10})
    data = built(tmp_path / "old", task="binary")
    torch.save(data.state_dict(), tmp_path / "state.pt")
    served = module("gone", task="binary")
    served.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert served.spec == data.spec and served.state_dict() == data.state_dict()

    new = folder(tmp_path / "new", {"": 3}, seed=7)
    loader, frame = served.new_loader(str(tmp_path / "new"), need_target=False)
    (batch,) = loader
    assert frame["image"].to_list() == sorted(new) and batch.y.tolist() == [0, 0, 0]
    mean, std = data.encoder.features.mean[0], data.encoder.features.std[0]
    np.testing.assert_allclose(batch.x["image"][1, 0], (new[sorted(new)[1]] - mean) / std, atol=1e-5)

    folder(tmp_path / "more", {"b": 2}, (9, 9))
    (batch,) = served.new_loader(str(tmp_path / "more"), need_target=True)[0]
    assert batch.y.tolist() == [1, 1] and batch.x["image"].shape == (2, 1, 6, 6)
    with pytest.raises(DataError, match="the target is missing"):
        served.new_loader(str(tmp_path / "new"), need_target=True)


def test_bad_folders_are_named(tmp_path):
    def fails(message, **options):
        with pytest.raises(ValueError, match=message):
            built(tmp_path, **options)

    fails("no image in this folder")
    folder(tmp_path, {"a": 6})
    fails("one folder of images only")
    folder(tmp_path, {"b": 6})
    (tmp_path / "c").mkdir()
    fails("c: no image in this folder")
    (tmp_path / "c").rmdir()
    broken = tmp_path / "a" / "002.png"
    whole_file = broken.read_bytes()
    broken.write_bytes(b"")
    fails(r"a/002\.png: cannot be opened as an image")
    broken.write_bytes(whole_file[:60])
    fails(r"a/002\.png: is damaged")
    for file in (tmp_path / "a").iterdir():
        Image.fromarray(pictures(1, (4, 7))[0]).save(file)
    fails(r"images differ in size \(.*b/00\d\.png is 6×6; .*a/00\d\.png is 7×4.*data\.size=64")
    fails("data=images serves", task="retrieval")
    fails("size must be", size=0)
    with pytest.raises(DataError, match="no such file"):
        built(tmp_path / "nowhere.parquet")
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(whole_file)
    fails("the target is missing: ", size=4)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["x"] * 4}, "no column of images"),
        ({f"p{i}": [0, 1, 2, 3] for i in range(5)}, "5 numeric columns are no square image"),
        ({f"p{i}": [0, 1, 2, 300] for i in range(4)}, r"column 'p0': a pixel must be in 0 … 255: row 4"),
        ({f"p{i}": [0, None, 2, 30] for i in range(4)}, r"column 'p0': the pixel is missing: row 2"),
        ({"b": [b"x"] * 4, "c": [b"y"] * 4}, "set data.image to one of b, c".replace("set", "Set")),
        ({"b": [b"x", b"y", b"z", b""]}, r"column 'b': row 1, .* cannot be opened"),
        ({"image": [encoded(pictures(1)[0]), None] * 2}, r"column 'image': the image is missing: rows 2, 4"),
        ({"image": [[1], [2], [3], [4]]}, "List.* where images belong"),
    ],
)
def test_bad_tables_are_named(tmp_path, columns, message):
    pl.DataFrame({**columns, "label": [0, 1, 0, 1]}).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame({**columns, "label": [0, 1, 0, 1]}).write_parquet(tmp_path / "v.parquet")
    splits = {"val_path": str(tmp_path / "v.parquet"), "test_path": str(tmp_path / "v.parquet")}
    with pytest.raises(DataError, match=message):
        built(tmp_path / "t.parquet", **splits)
