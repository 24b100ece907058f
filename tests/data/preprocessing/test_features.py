"""Preprocessing: fitted on train alone, applied to odd values, and saved in a checkpoint."""

import datetime

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data.preprocessing.column_types import infer_schema
from lit_mlfund.data.preprocessing.features import CategoricalColumn, NumericColumn, Preprocessor
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.table import Table


def table(**columns) -> Table:
    return Table.of(pl.DataFrame(columns, strict=False), "x.csv")


def fit(train: Table, **kwargs) -> Preprocessor:
    return Preprocessor.fit(train, infer_schema(train), **kwargs)


def test_numbers_are_standardised():
    values = np.random.default_rng(0).normal(100, 5, 1000)
    column = NumericColumn.fit("x", values)
    np.testing.assert_allclose(column.transform(values), (values - values.mean()) / values.std())
    assert column.scale is None and not column.indicator
    assert column.transform(np.array([1e9, -1e9])).tolist() == [10, -10]


def test_a_missing_number_is_the_median():
    values = np.array([1.0, 2.0, 9.0, np.nan])
    column = NumericColumn.fit("x", values)
    assert column.indicator
    assert column.transform(values)[3] == column.transform(np.array([2.0]))[0]
    assert NumericColumn.fit("x", np.array([5.0, np.nan])).transform(np.array([5.0, np.nan])).tolist() == [
        0,
        0,
    ]
    assert NumericColumn.fit("x", np.array([5.0, 5.0])) is None
    assert NumericColumn.fit("x", np.array([np.nan])) is None


def test_heavy_tails_are_compressed_and_order_is_kept():
    rng = np.random.default_rng(0)
    for values in (
        rng.lognormal(0, 2, 5000),
        rng.standard_cauchy(5000),
        np.where(rng.random(5000) < 0.001, 50.0, 0.0),
    ):
        column = NumericColumn.fit("x", values)
        assert column.scale is not None
        ordered = column.transform(np.unique(values))
        assert (np.diff(ordered) >= 0).all() and np.abs(ordered).max() <= 10
    values = rng.lognormal(0, 2, 5000)
    plain = (values - values.mean()) / values.std()
    assert np.abs(plain).max() > 15
    transformed = NumericColumn.fit("x", values).transform(values)
    np.testing.assert_allclose([transformed.mean(), transformed.std()], [0, 1], atol=1e-6)
    assert np.abs(transformed).max() < 8


def test_categories_are_coded_by_frequency():
    column = CategoricalColumn.fit(
        table(x=["b"] * 3 + ["a"] * 3 + ["c"] * 5 + ["rare", None]), "x", min_count=2
    )
    assert column.vocabulary == ("c", "a", "b")
    codes, unknown = column.transform(table(x=["c", "b", "rare", "never seen", None]))
    assert codes.tolist() == [1, 3, 0, 0, 0] and unknown == 2
    assert CategoricalColumn.fit(table(x=["a", "a", None]), "x", 1) == "one value only"
    assert "identifier" in CategoricalColumn.fit(table(x=["a", "b", None]), "x", 1)
    assert CategoricalColumn.fit(table(x=["a", "a", "b", "b"]), "x", 3) == "no value occurs 3 times"


@pytest.fixture
def train() -> Table:
    size = 40
    start = datetime.date(2013, 1, 1)
    return table(
        number=[float(n) for n in range(size)],
        holes=[None if n % 4 == 0 else n % 7 for n in range(size)],
        same_holes=[None if n % 4 == 0 else -(n % 5) for n in range(size)],
        flag=[n % 3 == 0 for n in range(size)],
        word=["abc"[n % 3] for n in range(size)],
        day=[start + datetime.timedelta(days=n) for n in range(size)],
        constant=[1] * size,
        key=[f"id{n}" for n in range(size)],
    )


def test_a_whole_table(train):
    fitted = fit(train, time="day")
    encoded = fitted.transform(train)
    field = fitted.fields["numeric"]
    assert field.names == (
        "number", "holes", "same_holes", "flag", "day (weekday sin)", "day (weekday cos)", "holes (missing)",
    )  # fmt: skip
    assert fitted.fields["categorical"].cardinalities == (4,)
    assert set(fitted.dropped) == {"constant", "key"}
    assert encoded.x["numeric"].shape == (40, 7) and encoded.x["numeric"].dtype == torch.float32
    assert encoded.x["categorical"].shape == (40, 1) and encoded.x["categorical"].dtype == torch.int64
    assert encoded.imputed == {"holes": 10, "same_holes": 10} and not encoded.unknown
    assert encoded.x["numeric"][:, -1].tolist() == [float(n % 4 == 0) for n in range(40)]
    assert torch.isfinite(encoded.x["numeric"]).all()
    torch.testing.assert_close(encoded.x["numeric"][:, :6].mean(0), torch.zeros(6), atol=0.4, rtol=0)
    assert "day (days)" in fit(train).fields["numeric"].names


def test_only_train_is_fitted_on(train):
    fitted = fit(train)
    later = train.frame.with_columns(
        number=pl.lit(1e6), holes=None, flag=None, word=pl.lit("new"), day=pl.lit("2014-05-05")
    )
    encoded = fitted.transform(Table.of(later, "later.csv"))
    assert (encoded.x["categorical"] == 0).all() and encoded.unknown == {"word": 40}
    assert encoded.imputed == {"holes": 40, "same_holes": 10, "flag": 40}
    assert torch.isfinite(encoded.x["numeric"]).all()
    assert encoded.x["numeric"][:, 0].unique().tolist() == [10]


def test_a_checkpoint_restores_it(train, tmp_path):
    fitted = fit(train, time="day")
    torch.save(fitted.to_dict(), tmp_path / "state.pt")
    restored = Preprocessor.from_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert restored == fitted
    assert torch.equal(restored.transform(train).x["numeric"], fitted.transform(train).x["numeric"])


def test_a_new_file_must_have_the_columns(train):
    fitted = fit(train)
    bad = train.frame.drop("holes", "constant").rename({"word": "wort"})
    with pytest.raises(
        DataError, match=r"new.csv: no column 'holes'.*no column 'word'; did you mean 'wort'\?"
    ):
        fitted.transform(Table.of(bad, "new.csv"))
    text = train.frame.with_columns(number=pl.lit("much"))
    with pytest.raises(
        DataError, match=r"new.csv: column 'number': text where a number belongs \('much'\): rows 1, 2"
    ):
        fitted.transform(Table.of(text, "new.csv"))
    endless = train.frame.with_columns(number=pl.lit(float("inf")))
    with pytest.raises(DataError, match="infinite"):
        fitted.transform(Table.of(endless, "new.csv"))


def test_types_may_differ_between_files(train):
    fitted = Preprocessor.fit(train, infer_schema(train, categorical=["flag"]))
    same = train.frame.with_columns(pl.col("number").cast(pl.String), pl.col("holes").cast(pl.Float32))
    expected, actual = fitted.transform(train), fitted.transform(Table.of(same, "new.csv"))
    assert torch.equal(expected.x["numeric"], actual.x["numeric"])
    coded = table(x=[1, 2] * 10)
    codes = Preprocessor.fit(coded, infer_schema(coded, categorical=["x"]))
    for values in (["1", "2", "3"], [1.0, 2.0, 3.0], [1, 2, 3]):
        assert codes.transform(table(x=values)).x["categorical"].flatten().tolist() == [1, 2, 0]


def test_a_table_without_features():
    with pytest.raises(
        DataError, match=r"x.csv: no column can serve as a feature \(a: one value only; b: .*identif"
    ):
        fit(table(a=[1, 1, 1], b=["x", "y", "z"]))
    with pytest.raises(DataError, match="there is none"):
        fit(table())
