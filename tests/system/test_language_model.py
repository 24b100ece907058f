"""A text of one's own from training to prediction; wrong texts and wrong combinations are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.system.conftest import Command

SMALL = (
    "task=multiclass",
    "data=text_lm",
    "data.path=book.txt",
    "data.length=16",
    "model.dim=16",
    "model.depth=1",
)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Simple sums, such as "12+7=19"."""
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 30, (1200, 2)).tolist()
    path = tmp_path / "book.txt"
    path.write_text("".join(f"{a}+{b}={a + b}\n" for a, b in numbers))
    return path


def test_from_training_to_prediction(mlfund: Command, book: Path) -> None:
    measured = {}
    for precision in ("32-true", "bf16-mixed"):
        outcome = mlfund(
            "train", *SMALL, "trainer.max_epochs=3", "optim.lr=3e-3", f"trainer.precision={precision}"
        )
        assert outcome.code == 0, outcome.err
        result = outcome.json
        measured[precision] = bits = result["test"]["bits_per_character"]
        assert bits["low"] < bits["value"] < bits["high"]
        assert result["objective"]["name"] == "val/bits_per_character"
        assert set(result["references"]) == {"unigram", "6-gram"}
        assert bits["high"] < result["references"]["unigram"]["bits_per_character"]["low"]
    assert measured["bf16-mixed"]["value"] == pytest.approx(measured["32-true"]["value"], rel=0.03)

    run = Path(result["run"])
    table = pl.read_parquet(run / "predictions" / "test.parquet")
    assert table["row"].to_list() == list(range(1, len(table) + 1))
    assert book.read_text().endswith("".join(table["label"]))
    bits = -np.log2(table["probability_of_target"].to_numpy()).mean()
    assert bits == pytest.approx(measured["bf16-mixed"]["value"], rel=1e-3)
    assert len((run / "predictions" / "sample.txt").read_text()) == 400
    assert "A text drawn from the model" in (run / "report.html").read_text()

    again = mlfund("evaluate", f"run={run}").json["metrics"]["bits_per_character"]
    assert again["value"] == pytest.approx(measured["bf16-mixed"]["value"], rel=0.01)  # in single precision
    Path("new.txt").write_text("1+1=2\n2+2=4\nΩ+3=6\n")
    new = mlfund("evaluate", f"run={run}", "data.path=new.txt").json
    assert (
        new["notes"] == {"unknown_characters": 1} and 0 < new["metrics"]["bits_per_character"]["value"] < 20
    )
    told = mlfund("predict", f"run={run}", "data.path=new.txt", "output=out.csv")
    assert told.code == 0, told.err
    assert "".join(pl.read_csv("out.csv", infer_schema=False)["character"]) == "+1=2\n2+2=4\nΩ+3=6\n"


def test_an_encoding(mlfund: Command, book: Path) -> None:
    book.write_bytes(book.read_text().replace("+", "±").encode("latin-1"))
    quick = ("references=false", "logger=none", "trainer.max_epochs=1")
    trained = mlfund("train", *SMALL, "data.encoding=latin-1", *quick)
    assert trained.code == 0, trained.err
    run = trained.json["run"]
    Path("new.txt").write_bytes("1±1=2\n2±2=4\n3±3=6\n".encode("latin-1"))
    measured = mlfund("evaluate", f"run={run}", "data.path=new.txt")
    assert measured.json["notes"] == {"unknown_characters": 0}, measured.err
    told = mlfund("predict", f"run={run}", "data.path=new.txt", "output=out.csv")
    assert told.code == 0, told.err
    assert "".join(pl.read_csv("out.csv", infer_schema=False)["character"]) == "±1=2\n2±2=4\n3±3=6\n"
    wrong = mlfund("train", *SMALL, "data.encoding=latin1000", *quick)
    assert wrong.code == 2 and "there is no encoding 'latin1000'" in wrong.err


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (b"", (), ("book.txt", "the file is empty")),
        (b"caf\xe9\n" * 500, (), ("book.txt", "line 1", "0xe9", "UTF-8")),
        (b"word\n" * 30, (), ("book.txt", "the val split", "15 characters", "data.length")),
        (None, ("data.path=gone.txt",), ("gone.txt", "no such file")),
        (None, ("model=text_transformer",), ("model", "use model=decoder")),
        (None, ("regularization=token_masking",), ("token_masking", "sequence")),
        (None, ("monitor=val/macro_f1",), ("monitor", "val/log_loss")),
        (None, ("model.num_heads=3",), ("dim must be a multiple of num_heads",)),
    ],
    ids=["empty", "latin-1", "short", "missing", "encoder", "masking", "monitor", "heads"],
)
def test_wrong_texts_and_combinations(
    mlfund: Command, book: Path, content: bytes | None, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    if content is not None:
        book.write_bytes(content)
    outcome = mlfund("train", *SMALL, *arguments, "references=false", "logger=none", "trainer.max_epochs=1")
    assert outcome.code == 2 and "Traceback" not in outcome.err, outcome.err
    for word in words:
        assert word in outcome.err, (word, outcome.err)
    assert not list(Path("runs").rglob("run.yaml"))
