"""Folders of images: what is read of them, in which size, and what is counted as left out."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lit_mlfund.data.preprocessing.image_folders import describe_left_out, left_out, read_folder
from lit_mlfund.data.preprocessing.images import read_images
from lit_mlfund.data.reading.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for label in ("cat", "dog"):
        for name in (
            "0.png",
            "1.JPG",
            ".hidden.png",
            "old.gif",
            "notes",
            "sub/2.png",
            ".ipynb_checkpoints/0.png",
        ):
            file = tmp_path / "x" / label / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix.lower() in (".png", ".jpg"):
                Image.new("L", (4, 4)).save(file)
            else:
                file.write_text("?")
    (tmp_path / "elsewhere").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "elsewhere" / "9.png")
    (tmp_path / "x" / "dog" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "x" / "owl").symlink_to(tmp_path / "elsewhere")  # a class of its own
    return tmp_path / "x"


def test_hidden_and_linked_folders(folder):
    rows = [
        (file.removeprefix(f"{folder}/"), label) for file, label in read_folder(str(folder), "label").rows()
    ]
    each = ["0.png", "1.JPG", "sub/2.png"]
    assert rows == [(f"{label}/{name}", label) for label in ("cat", "dog") for name in each] + [
        ("owl/9.png", "owl")
    ]
    assert left_out(str(folder)) == {".gif": 2, "no ending": 2, "hidden folders": 2, "linked folders": 1}
    (told,) = describe_left_out(str(folder))
    assert "2 .gif" in told and "1 linked folders" in told
    assert describe_left_out(str(folder.parent / "elsewhere")) == []


def turned(path, pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=100)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_sizes_are_those_behind_the_turn(tmp_path, ending):
    upright = np.random.default_rng(0).integers(0, 256, (8, 6), dtype=np.uint8)
    plain, lying, half = (str(tmp_path / f"{name}.{ending}") for name in ("plain", "lying", "half"))
    Image.fromarray(upright).save(plain, quality=100)
    turned(lying, np.rot90(upright), 6)  # shown: turned by 90° clockwise
    pixels = read_images([plain, lying], ["plain", "lying"])
    assert pixels.shape[2:] == (8, 6)
    np.testing.assert_allclose(
        pixels[0].astype(int), pixels[1].astype(int), atol=60 if ending != "png" else 0
    )
    turned(half, upright, 6)
    with pytest.raises(DataError, match=r"half is 8×6.*plain is 6×8.*data.size=64|plain is 6×8.*half is 8×6"):
        read_images([plain, half], ["plain", "half"])
    assert read_images([plain, half], ["plain", "half"], shape=(4, 4)).shape == (2, pixels.shape[1], 4, 4)


def test_images_without_a_folder_have_no_label(tmp_path):
    """But a column of text for it, as files of the same kind with labels have."""
    for name in ("b.png", "a.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    frame = read_folder(str(tmp_path), "label")
    assert frame.schema == {"image": pl.String, "label": pl.String}
    assert frame["image"].to_list() == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert frame["label"].to_list() == [None, None]
