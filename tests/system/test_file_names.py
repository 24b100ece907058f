"""Names of files with `[ ] * ?`: each file is read under its own name, and never as a pattern for others."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lit_mlfund.data.reading import scan
from tests.system.conftest import Command

QUICK = ("references=false", "logger=none", "trainer.max_epochs=1")
NAMES = {"data[1]": "data1", "data*": "data12", "data?": "data3"}  # a name, and what it matches as a pattern
WRITERS: dict[str, Callable[[pl.DataFrame, str], object]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".csv": lambda frame, path: frame.write_csv(path),
    ".tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    ".csv.gz": lambda frame, path: Path(path).write_bytes(gzip.compress(frame.write_csv().encode())),
    ".arrow": lambda frame, path: frame.write_ipc(path),
    ".feather": lambda frame, path: frame.write_ipc_stream(path),
}


def rows(size: int, offset: float = 0.0) -> pl.DataFrame:
    generator = np.random.default_rng(size)
    x = generator.normal(size=size)
    words = np.where(x > 0, "good fine", "bad poor")
    return pl.DataFrame(
        {"x": x + offset, "z": generator.normal(size=size), "text": words, "y": (x > 0).astype(int)}
    )


def sizes(provenance_of: str) -> dict[str, int]:
    return json.loads((Path(provenance_of) / "provenance.json").read_text())["data"]["rows"]


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("ending", WRITERS)
def test_every_ending_and_command(
    mlfund: Command, monkeypatch: pytest.MonkeyPatch, ending: str, pieces: bool
) -> None:
    write = WRITERS[ending]
    for name, (size, decoy) in zip(NAMES, ((120, 40), (60, 20), (50, 30))):
        write(rows(size), name + ending)
        write(rows(decoy, offset=9.0), NAMES[name] + ending)
    if pieces and ending == ".feather":
        pytest.skip("an Arrow stream can only be read as a whole")
    monkeypatch.setattr(scan, "LARGE", 0 if pieces else scan.LARGE)
    trained = mlfund(
        "train", "task=binary", "data=table", f"data.path='data[1]{ending}'", f"data.val_path='data*{ending}'",
        f"data.test_path='data?{ending}'", "data.target=y", "data.exclude=[text]",
        f"data.cache={'caches' if pieces else 'null'}", "runs_dir='runs[1]'", *QUICK,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    run = trained.json["run"]
    assert sizes(run) == {"train": 120, "val": 60, "test": 50}
    for file, size in ((f"data[1]{ending}", 120), (f"data*{ending}", 60), (f"data?{ending}", 50)):
        measured = mlfund("evaluate", f"run={run}", f"data.path={file}")
        assert measured.code == 0, measured.err
        assert measured.json["rows"] == size
        for output in ("out[1].parquet", "out[1].csv"):
            predicted = mlfund("predict", f"run={run}", f"data.path={file}", f"output={output}")
            assert predicted.code == 0, predicted.err
            read = pl.read_parquet if output.endswith("parquet") else pl.read_csv
            written = read(Path(output).read_bytes())
            assert written["x"].to_list() == pytest.approx(rows(size)["x"].to_list())


def test_output_of_many_parts(mlfund: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit_mlfund.data.reading import write

    rows(120).write_parquet("x.parquet")
    trained = mlfund(
        "train", "task=binary", "data=table", "data.path=x.parquet", "data.target=y", "data.exclude=[text]", *QUICK
    )  # fmt: skip
    monkeypatch.setattr(write, "GROUP", 0)
    for folder in ("d[1]", "d1"):
        Path(folder).mkdir()
    told = mlfund("predict", f"run={trained.json['run']}", "data.path=x.parquet", "output=d[1]/out*.parquet")
    assert told.code == 0, told.err
    assert pl.read_parquet(Path("d[1]/out*.parquet").read_bytes()).height == 120


def test_other_kinds_of_data(mlfund: Command, letor: Path) -> None:
    Path("lists[1].txt").write_text(letor.read_text())
    Path("lists1.txt").write_text("".join(letor.read_text().splitlines(keepends=True)[:50]))
    lists = mlfund("train", "task=ranking", "data=letor", "data.path='lists[1].txt'", *QUICK)
    assert lists.code == 0, lists.err
    assert sum(sizes(lists.json["run"]).values()) == len(letor.read_text().splitlines())

    numbers = np.random.default_rng(0).integers(0, 30, (600, 2)).tolist()
    text = "".join(f"{a}+{b}={a + b}\n" for a, b in numbers)
    Path("book[1].txt").write_text(text)
    Path("book1.txt").write_text(text[:900])
    book = mlfund(
        "train", "task=multiclass", "data=text_lm", "data.path='book[1].txt'", "data.length=16", "model.dim=16",
        "model.depth=1", *QUICK,
    )  # fmt: skip
    assert book.code == 0, book.err
    assert sum(sizes(book.json["run"]).values()) == len(text) - 3

    rows(200).write_csv("words[1].csv")
    rows(20).write_csv("words1.csv")
    words = mlfund(
        "train", "task=binary", "data=text", "data.path='words[1].csv'", "data.text=text", "data.target=y", *QUICK
    )  # fmt: skip
    assert words.code == 0, words.err
    assert sum(sizes(words.json["run"]).values()) == 200


def test_interactions_with_side_tables(mlfund: Command, interactions: Path) -> None:
    takes = pl.read_csv(interactions)
    side = takes.select("item").unique(maintain_order=True).with_row_index("price")
    takes.write_csv("takes[1].csv")
    takes.head(99).write_csv("takes1.csv")
    side.write_csv("items[1].csv")
    side.rename({"price": "other"}).write_csv("items1.csv")
    outcome = mlfund(
        "train", "task=retrieval", "data=interactions", "data.path='takes[1].csv'", "data.user=user",
        "data.item=item", "data.time=time", "data.items_path='items[1].csv'", *QUICK,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert sum(sizes(outcome.json["run"]).values()) == takes.height
    assert "price" in (Path(outcome.json["run"]) / "provenance.json").read_text()


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_images(mlfund: Command, kind: str) -> None:
    paths = []
    for folder, size in (("pictures[1]", 20), ("pictures1", 6)):
        for label, shade in (("cat*", 40), ("dog", 200)):
            (Path(folder) / label).mkdir(parents=True)
            for number in range(size):
                file = f"{folder}/{label}/{number}[2].png"
                Image.new("L", (8, 8), shade + number).save(file)
                paths.append({"image": file, "label": label, "size": size})
    table = pl.DataFrame(paths)
    table.filter(pl.col("size") == 20).select("image", "label").write_parquet("list[1].parquet")
    table.filter(pl.col("size") == 6).select("image", "label").write_parquet("list1.parquet")
    path = "pictures[1]" if kind == "folder" else "list[1].parquet"
    outcome = mlfund("train", "task=binary", "data=images", f"data.path='{path}'", *QUICK)
    assert outcome.code == 0, outcome.err
    assert sum(sizes(outcome.json["run"]).values()) == 40
