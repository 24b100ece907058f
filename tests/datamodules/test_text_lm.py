"""Texts for language models: splits, a vocabulary from train alone, new files, and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules import TextLMDataModule, text_lm

LINE = "the quick brown fox jumps over the lazy dog\n"


def make(path: Path | None = None, **options: Any) -> TextLMDataModule:
    given = {"path": None if path is None else str(path), "length": 16, **options}
    data = TextLMDataModule(**given)
    data.setup()
    return data


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(LINE * 100 + "Zoë\n")
    return path


def test_the_documentation() -> None:
    data = make(None, length=128)
    rows = data.summary["rows"]
    assert rows["train"] > 200_000 and min(rows["val"], rows["test"]) > 20_000
    assert data.spec.classes[0] == "<unknown>" and "e" in data.spec.classes
    assert data.spec.inputs["tokens"].cardinalities == (data.spec.num_classes,)
    first = data.stores["train"].batch(torch.tensor([0]))
    assert data.characters is not None
    assert data.characters.decode(first.x["tokens"][0, 1:]) == data.characters.decode(first.y[0, :-1])
    counted = sum(int((batch.weight > 0).sum()) for batch in data.test_dataloader())
    assert counted == rows["test"]


def test_the_vocabulary_is_that_of_train(book: Path) -> None:
    data = make(book)
    assert set("Zë") & set(data.spec.classes) == set()  # at the end, in test
    assert data.summary["unknown_categories"] == {"test": {"text": 2}}
    weights = [batch.y[batch.weight > 0] for batch in data.test_dataloader()]
    assert int((torch.cat(weights) == 0).sum()) == 2
    note = "val: a share of 0.1 at the end of the text; 100% of its long lines are in train too"
    assert data.summary["notes"][0] == note


def test_files_of_their_own_for_the_splits(book: Path, tmp_path: Path) -> None:
    (tmp_path / "last.txt").write_text(LINE)
    data = make(book, test_path=str(tmp_path / "last.txt"))
    assert data.summary["rows"]["test"] == len(LINE) - 1
    assert {Path(path).name for path in data.watch.signatures} == {"book.txt", "last.txt"}
    assert data.summary["rows"]["train"] + data.summary["rows"]["val"] == len(book.read_text()) - 2


def test_a_checkpoint_serves_a_new_file(book: Path, tmp_path: Path) -> None:
    data = make(book)
    served = TextLMDataModule(path="gone.txt", length=8)
    served.load_state_dict(data.state_dict())
    new = tmp_path / "new.txt"
    new.write_text("the foxes jump over Ω and over dogs")
    loader, frame = served.new_loader(str(new), need_target=True)
    assert served.notes == {"unknown_characters": 1}
    targets = torch.cat([batch.y[batch.weight > 0] for batch in loader])
    assert served.characters is not None
    assert served.characters.decode(targets) == "".join(frame["character"]).replace("Ω", "�")
    assert len(targets) == len(new.read_text()) - 1
    new.write_text("совсем другой алфавит, ничего общего")
    with pytest.raises(DataError, match=r"new\.txt: 8\d% of the characters never occur .* such as 'с'"):
        served.new_loader(str(new), need_target=True)
    new.write_text("short")
    with pytest.raises(DataError, match=r"new\.txt: 5 characters are fewer than one window of 16"):
        served.new_loader(str(new), need_target=False)


@pytest.mark.parametrize("piece", [1, 20, 10**6])
def test_a_new_file_in_pieces_loses_no_character(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(text_lm, "PIECE", piece)
    data, new = make(book, length=8), tmp_path / "new.txt"
    new.write_text("the lazy fox jumps over the brown dogs, then over more")
    assert data.characters is not None
    pieces = list(data.new_pieces(str(new), need_target=True))
    assert len(pieces) == {1: 13, 20: 7, 10**6: 1}[piece]  # each window but the first scores 4
    for loader, frame in pieces:
        targets = torch.cat([batch.y[batch.weight > 0] for batch in loader])
        shown = "".join(frame["character"]).replace(",", "�")  # a comma never occurs in training
        assert data.characters.decode(targets) == shown
    assert "".join("".join(frame["character"]) for _, frame in pieces) == new.read_text()[1:]


def test_refuses_what_cannot_be_used(book: Path) -> None:
    with pytest.raises(
        DataError, match=r"book\.txt: the val split: \d+ characters are fewer .* data\.length"
    ):
        make(book, length=500)
    with pytest.raises(DataError, match=r"book\.txt: the train split: \d+ characters are fewer"):
        make(book, length=5000)
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        make(book, length=0)
    with pytest.raises(ValueError, match="val_path and test_path go with a path"):
        make(None, val_path="x.txt")
