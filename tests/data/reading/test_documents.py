"""Texts in splits that share nothing, their characters as ids, and windows that count each of them once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lit_mlfund.data.preprocessing.characters import Characters
from lit_mlfund.data.reading.documents import documentation, read_text, split_in_order, split_text
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.serving.token_windows import WindowStore

SHARES = {"val": 0.1, "test": 0.1}


def paragraphs(text: str) -> set[str]:
    return {" ".join(part.split()) for part in text.split("\n\n")}


def test_no_paragraph_of_the_documentation_is_in_two_splits() -> None:
    from pydoc_data.topics import topics

    texts = documentation(SHARES)
    assert list(texts) == ["train", "val", "test"]
    long = {split: {part for part in paragraphs(text) if len(part) >= 40} for split, text in texts.items()}
    assert not long["train"] & (long["val"] | long["test"]) and not long["val"] & long["test"]
    for split in texts:  # each is there once, and nothing is lost
        assert sum(len(" ".join(part.split())) >= 40 for part in texts[split].split("\n\n")) == len(
            long[split]
        )
    everything = paragraphs("\n\n".join(topics.values()))
    assert set().union(*map(paragraphs, texts.values())) - {""} == everything - {""}
    assert texts["test"].rstrip().endswith(list(topics.values())[-1].rstrip()[-40:])


def test_topics_stay_whole_and_in_order() -> None:
    chosen = split_in_order({"a": 50, "b": 30, "c": 11, "d": 9}, SHARES)
    assert chosen == {"train": ["a", "b"], "val": ["c"], "test": ["d"]}


def test_a_text_is_cut_at_ends_of_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(100))
    parts = split_text(text, SHARES)
    assert "".join(parts.values()) == text
    assert all(part.startswith("line") and part.endswith("\n") for part in parts.values())
    assert len(parts["test"]) == pytest.approx(len(text) / 10, abs=10)
    assert [len(part) for part in split_text("x" * 1000, SHARES).values()] == [800, 100, 100]
    assert list(split_text(text, {"test": 0.5})) == ["train", "test"]


def test_characters() -> None:
    characters = Characters.fit("naïve 😀 text")
    ids = characters.encode("text 😀Ω")
    assert ids.dtype == torch.uint8 and ids[-1] == 0
    assert characters.decode(ids) == "text 😀�"
    assert len(characters.names) == len(characters) and characters.names[ids[0]] == "t"
    many = Characters("".join(map(chr, range(0x4E00, 0x4E00 + 300))))
    assert many.encode(many.known).tolist() == list(range(1, 301))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "book.txt: the file is empty"),
        (b" \n\n", "book.txt: the file is empty"),
        (b"fine\nna\xefve\n", "book.txt: line 2: byte 0xef is not valid UTF-8"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "book.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_text(str(tmp_path / "book.txt"))


def test_encodings(tmp_path: Path) -> None:
    text, path = "Käse für 3 €\nund Brot\n", tmp_path / "book.txt"
    path.write_bytes(text.encode("cp1252"))
    assert read_text(str(path), "cp1252") == text
    with pytest.raises(
        DataError, match=r"book\.txt: line 1: byte 0xe4 is not valid UTF-8; say data\.encoding="
    ):
        read_text(str(path))
    path.write_bytes(text.encode("utf-16"))  # with a mark
    assert read_text(str(path)) == read_text(str(path), "utf-16") == text
    path.write_bytes(text.encode())
    with pytest.raises(DataError, match=r"book\.txt: it is not written in ascii \("):
        read_text(str(path), "ascii")


def test_reading_leaves_marks_of_files_out(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes("\N{BYTE ORDER MARK}eins\r\nzwei".encode())
    assert read_text(str(tmp_path / "book.txt")) == "eins\nzwei"
    with pytest.raises(DataError, match=r"gone\.txt: no such file"):
        read_text(str(tmp_path / "gone.txt"))


@pytest.mark.parametrize(("num_tokens", "length"), [(9, 8), (10, 8), (100, 8), (101, 7), (50, 1), (33, 32)])
def test_windows_score_each_token_once(num_tokens: int, length: int) -> None:
    tokens = torch.arange(num_tokens, dtype=torch.uint8)
    store = WindowStore.scored_once(tokens, length)
    batch = store.batch(torch.arange(len(store)))
    counted = batch.weight > 0
    assert batch.y[counted].tolist() == list(range(1, num_tokens))  # in order, each once
    position = batch.index[:, None] + torch.arange(length)
    assert torch.equal(tokens[position].long(), batch.y)
    assert torch.equal(batch.x["tokens"] + 1, batch.y)
    context = counted.int().argmax(1)  # before the first that counts
    assert (context[1:-1] == length - length // 2 if length > 1 else context == 0).all()


def test_training_windows_begin_at_every_stride_and_end_with_the_text() -> None:
    tokens = torch.arange(30, dtype=torch.int32)
    store = WindowStore.strided(tokens, 8, 5)
    assert store.start.tolist() == [0, 5, 10, 15, 20, 21]
    batch = store.batch(torch.tensor([5, 1]))
    assert batch.weight is None and batch.y[0].tolist() == list(range(22, 30)) and batch.y[1, 0] == 6
    with pytest.raises(ValueError, match="30 tokens are fewer than a window of 30"):
        WindowStore.strided(tokens, 30, 1)
    moved = store.to("cpu")
    assert moved.length == 8 and torch.equal(moved.start, store.start)
