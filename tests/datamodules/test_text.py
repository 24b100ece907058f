"""Texts: ids of the right rows, batches without needless padding, splits, serving, bad input."""

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data.preprocessing.text import trim
from lit_mlfund.data.preprocessing.tokenize import Tokenizer
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules.text import TextDataModule

WORDS = np.array(["red", "green", "blue", "one", "two", "three", "four"])


def text_file(tmp_path, rows=120, name="texts.csv"):
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(rows)]
    frame = pl.DataFrame(
        {
            "body": [None if i == 7 else text for i, text in enumerate(texts)],
            "label": ["ham" if i % 3 else "spam" for i in range(rows)],
            "kind": [f"k{i % 4}" for i in range(rows)],
            "stars": [float(i % 5) for i in range(rows)],
            "day": range(rows),
        }
    )
    frame.write_csv(tmp_path / name)
    return frame


def module(tmp_path, **options):
    options = {
        "task": "binary",
        "path": str(tmp_path / "texts.csv"),
        "text": "body",
        "target": "label",
        **options,
    }
    return TextDataModule(**options)


@pytest.mark.parametrize(
    ("task", "target", "classes"),
    [
        ("binary", "label", ("ham", "spam")),
        ("multiclass", "kind", ("k0", "k1", "k2", "k3")),
        ("regression", "stars", ()),
    ],
)
@pytest.mark.parametrize("tokenizer", ["ngrams", "words", "bytes"])
def test_batches_hold_the_ids_of_their_rows(tmp_path, task, target, classes, tokenizer):
    frame = text_file(tmp_path)
    data = module(tmp_path, task=task, target=target, tokenizer=tokenizer, max_length=40, batch_size=16)
    data.setup()
    assert data.spec.classes == classes
    field = data.spec.inputs["tokens"]
    assert (field.kind, field.shape) == ("tokens", (40,))
    assert sum(len(store) for store in data.stores.values()) == frame.height
    encode = Tokenizer(tokenizer, field.cardinalities[0], 40)
    seen = []
    for batch in data.train_dataloader():
        ids, rows = batch.x["tokens"], batch.index.tolist()
        expected = encode([frame["body"][row] or "" for row in rows])
        assert torch.equal(ids, expected.long()) and ids.dtype == torch.int64
        values = frame[target][rows]
        assert batch.y.tolist() == ([classes.index(v) for v in values] if classes else values.to_list())
        seen += rows
    assert sorted(seen) == sorted(data.stores["train"].index.tolist())
    assert sum(part.get("body", 0) for part in data.summary["imputed_cells"].values()) == 1
    assert set(data.summary["columns"]["dropped"]) == {"label", "kind", "stars", "day"} - {target}


def test_batches_of_similar_length_need_little_padding(tmp_path):
    text_file(tmp_path, rows=600)
    data = module(tmp_path, tokenizer="words", batch_size=16)
    data.setup()
    ids = [batch.x["tokens"] for batch in data.train_dataloader()]
    padding = sum((part == 0).sum() for part in ids) / sum(part.numel() for part in ids)
    assert padding < 0.1


def test_splits_follow_time_or_files(tmp_path):
    text_file(tmp_path)
    text_file(tmp_path, 30, "val.csv")
    text_file(tmp_path, 20, "test.csv")
    data = module(tmp_path, time="day")
    data.setup()
    assert data.stores["test"].index.tolist() == list(range(102, 120))
    data = module(tmp_path, val_path=str(tmp_path / "val.csv"), test_path=str(tmp_path / "test.csv"))
    data.setup()
    assert {split: len(store) for split, store in data.stores.items()} == {
        "train": 120,
        "val": 30,
        "test": 20,
    }


def test_a_state_alone_serves_a_new_file(tmp_path):
    text_file(tmp_path)
    data = module(tmp_path, tokenizer="words", max_length=12, vocab_size=1000)
    data.setup()
    torch.save(data.state_dict(), tmp_path / "state.pt")
    served = module(tmp_path, path="gone.csv")
    served.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert served.spec == data.spec
    assert served.state_dict() == data.state_dict()
    pl.DataFrame({"body": ["red one", None]}).write_csv(tmp_path / "new.csv")
    loader, frame = served.new_loader(str(tmp_path / "new.csv"), need_target=False)
    (batch,) = loader
    assert torch.equal(batch.x["tokens"], Tokenizer("words", 1000, 12)(["red one", ""]).long())
    assert batch.y.tolist() == [0, 0] and frame.height == 2
    assert served.notes["imputed_cells"] == 1
    with pytest.raises(DataError, match="label"):
        served.new_loader(str(tmp_path / "new.csv"), need_target=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "bdy"}, "no column 'bdy'; did you mean 'body'"),
        ({"target": "lable"}, "no column 'lable'; did you mean 'label'"),
        ({"text": "gone"}, "column 'gone': no text in any row"),
        ({"path": "lists.parquet"}, "column 'body': List.* where text belongs"),
        ({"task": "ranking"}, "data=text serves"),
        ({"text": "label"}, "data.text and data.target are both 'label'"),
        ({"vocab_size": 1}, "vocab_size"),
    ],
)
def test_bad_input_is_named(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    frame = text_file(tmp_path).with_columns(gone=pl.lit("-"))
    frame.write_csv("texts.csv")
    frame.with_columns(pl.concat_list("body")).write_parquet("lists.parquet")
    with pytest.raises(ValueError, match=message):
        module(tmp_path, **options).setup()


def test_trimming_keeps_what_is_not_tokens():
    ids = torch.tensor([[1, 0, 0], [2, 3, 0]], dtype=torch.int32)
    x = trim({"tokens": ids, "numeric": torch.zeros(2, 5), "empty": torch.zeros(2, 4, dtype=torch.int32)})
    assert x["tokens"].tolist() == [[1, 0], [2, 3]]
    assert x["numeric"].shape == (2, 5) and x["empty"].shape == (2, 1)
