"""TF-IDF of texts: against scikit-learn's, as a reference through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, root_mean_squared_error

from lit_mlfund.datamodules import TextDataModule
from lit_mlfund.references import text_features
from lit_mlfund.references.text_features import TextWeights
from tests.system.conftest import Command, mlfund  # noqa: F401

WORDS = ["apple", "pear", "plum", "fig", "kiwi", "lime", "nut", "oat"]


def texts(seed: int, size: int) -> list[str]:
    """Words of letters alone, which `split_words` and scikit-learn take apart alike."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 9))) for _ in range(size)]


def features(text: str) -> list[str]:
    """By hand what the reference counts: words, pairs, and the last word with the end of the text."""
    words = text.split()
    pairs = [f"{first}>{second}" for first, second in zip(words, [*words[1:], ""])]
    grams = [f" {w} "[i : i + n] for w in words for n in range(2, 6) for i in range(len(w) + 3 - n)]
    return [*(f"word {word}" for word in words), *pairs, *grams]


def test_weights_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the inner products of rows, which do not depend on the order of the features."""
    monkeypatch.setattr(text_features, "BLOCK", 7)
    train, new = texts(0, 40), [*texts(1, 20), "", "unknown"]
    ours = TextWeights().fit(train)
    theirs = TfidfVectorizer(analyzer=features, sublinear_tf=True, min_df=2).fit(train)
    for one, other in ((train, train), (new, train), (new, new)):
        products = (ours.transform(one) @ ours.transform(other).T).toarray()
        expected = (theirs.transform(one) @ theirs.transform(other).T).toarray()
        assert products == pytest.approx(expected, abs=1e-5)
    assert not ours.transform([""]).nnz


def test_the_number_of_features_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_features, "MAX_FEATURES", 5)
    weights = TextWeights().fit(texts(0, 40)).transform(texts(1, 3))
    assert weights.shape == (3, 5)
    assert TextWeights().fit(["one single text"]).transform(["one"]).nnz > 0


@pytest.mark.parametrize(("task", "target"), [("multiclass", "kind"), ("regression", "length")])
def test_the_linear_reference_reads_whole_texts(
    mlfund: Command,  # noqa: F811
    tmp_path: Path,
    task: str,
    target: str,
) -> None:
    """The model reads two tokens of each text; the reference is not cut short, nor the hash of 64 ids its own."""
    lines = texts(0, 300)
    frame = pl.DataFrame({"t": lines, "kind": [line.split()[-1][0] for line in lines]})
    frame = frame.with_columns(length=pl.col("t").str.len_chars().cast(pl.Float64))
    frame.write_parquet(tmp_path / "t.parquet")
    outcome = mlfund(
        "train", f"task={task}", "data=text", "data.path=t.parquet", "data.text=t", f"data.target={target}",
        "data.max_length=2", "data.vocab_size=64", "trainer.max_epochs=1", "logger=none", "doctor=none",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    data = TextDataModule("t.parquet", text="t", target=target, task=task)
    data.setup()
    train, test = data.stores["train"], data.stores["test"]
    theirs = TfidfVectorizer(analyzer=features, sublinear_tf=True, min_df=2)
    design, new = theirs.fit_transform(train.texts.to_list()), theirs.transform(test.texts.to_list())
    told, y = outcome.json["references"]["linear"], test.y.numpy()
    if task == "regression":
        expected = root_mean_squared_error(y, Ridge().fit(design, train.y.numpy()).predict(new))
        assert told["rmse"]["value"] == pytest.approx(expected, rel=1e-3)
    else:
        model = LogisticRegression(C=10, max_iter=1000).fit(design, train.y.numpy())
        expected = log_loss(y, model.predict_proba(new), labels=model.classes_)
        assert told["log_loss"]["value"] == pytest.approx(expected, rel=3e-2)
