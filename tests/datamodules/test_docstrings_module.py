"""Docstring search: disjoint files, a corpus per split, pairs that belong together, serving, the BM25 bar."""

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data.preprocessing.tokenize import Tokenizer
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.sources.docstrings import standard_library
from lit_mlfund.datamodules.docstrings import DocstringsDataModule
from lit_mlfund.metrics import evaluate_retrieval, positive_ranks
from lit_mlfund.references.bm25 import BM25

OPTIONS = {"vocab_size": 4096, "query_length": 64, "item_length": 128}


@pytest.fixture(scope="module")
def data():
    data = DocstringsDataModule(**OPTIONS)
    data.setup()
    return data


def test_no_file_is_in_two_splits_and_every_function_is_in_one(data):
    functions = standard_library()
    files = {split: {functions[i].file for i in store.index.tolist()} for split, store in data.stores.items()}
    assert (
        not files["train"] & files["val"]
        and not files["val"] & files["test"]
        and not files["train"] & files["test"]
    )
    rows = torch.cat([store.index for store in data.stores.values()])
    assert rows.sort().values.tolist() == list(range(len(functions)))
    assert data.summary["rows"] == {split: len(store) for split, store in data.stores.items()}
    share = len(data.stores["test"]) / len(functions)
    assert 0.1 < share < 0.2


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_pair_is_a_docstring_and_its_function(data, split):
    functions = standard_library()
    store = data.stores[split]
    index = torch.arange(len(store))[:: len(store) // 20]
    batch = store.batch(index)
    chosen = [functions[i] for i in batch.index.tolist()]
    queries = Tokenizer("ngrams", 4096, 64)([f.summary for f in chosen]).long()
    items = Tokenizer("ngrams", 4096, 128)([f.code for f in chosen]).long()
    assert torch.equal(batch.query["tokens"], queries) and torch.equal(batch.item["tokens"], items)
    corpus = data.corpus(split)["tokens"]
    assert corpus.shape[0] == len(store) and corpus.dtype == torch.int64
    assert torch.equal(corpus[batch.item_id][:, : items.shape[1]], items)
    queries, items = data.texts(split)
    names = data.item_names(split)
    for f, i in zip(chosen, index.tolist()):
        assert (queries[i], items[i], names[i]) == (f.summary, f.code, f"{f.file}:{f.line} {f.name}")
    assert data.seen(split) is None and data.popularity(split) is None


def test_bm25_is_the_bar_that_is_known(data):
    queries, items = data.texts("test")
    scores = torch.from_numpy(BM25(items).scores(queries))
    ranks = positive_ranks(lambda a, b: scores[a:b], len(queries), len(items), torch.arange(len(items)))
    mrr = evaluate_retrieval(ranks).values()["mrr@10"]
    assert 0.3 < mrr < 0.5  # .391 with Python 3.11


def test_seeds_share_their_test_files_and_split_seeds_do_not(data):
    other = DocstringsDataModule(**OPTIONS, seed=5)
    other.setup()
    assert other.item_names("test") == data.item_names("test")
    third = DocstringsDataModule(**OPTIONS, split_seed=5, query="docstring")
    third.setup()
    assert third.item_names("test") != data.item_names("test")
    assert max(map(len, third.texts("train")[0])) > max(map(len, data.texts("train")[0]))


def test_a_state_alone_serves_new_queries(data, tmp_path):
    torch.save(data.state_dict(), tmp_path / "state.pt")
    served = DocstringsDataModule()
    served.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert served.spec == data.spec and served.state_dict() == data.state_dict()
    frame = pl.DataFrame(
        {"docstring": ["Open a file.", None], "code": ["def open(): ...", "def close(): ..."]}
    )
    frame.write_parquet(tmp_path / "pairs.parquet")
    frame.drop("code").write_parquet(tmp_path / "queries.parquet")

    (batch,) = served.new_loader(str(tmp_path / "pairs.parquet"), need_target=True)[0]
    expected = Tokenizer("ngrams", 4096, 128)(frame["code"].to_list()).long()
    assert torch.equal(served.corpus("new")["tokens"], expected) and batch.item_id.tolist() == [0, 1]
    assert served.item_names("new") == ["row 1", "row 2"]
    assert served.notes == {"empty_queries": 1}

    (batch,) = served.new_loader(str(tmp_path / "queries.parquet"), need_target=False)[0]
    assert len(batch) == 2 and not batch.query["tokens"][1].any()
    size = sum(len(store) for store in data.stores.values())
    assert served.corpus("new")["tokens"].shape[0] == len(served.item_names("new")) == size
    with pytest.raises(DataError, match="no column 'code'"):
        served.new_loader(str(tmp_path / "queries.parquet"), need_target=True)


def test_unknown_splits_are_refused(data):
    with pytest.raises(ValueError, match="there is no split 'new'"):
        data.corpus("new")
    assert np.isclose(data.spec.num_train, len(data.stores["train"]))
