"""Targets: what each task takes, and how it refuses the rest."""

import math

import polars as pl
import pytest
import torch

from lit_mlfund.data.preprocessing.target import Target
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.table import Table


def table(values, source="x.csv", dtype=None) -> Table:
    return Table.of(pl.DataFrame({"y": pl.Series(values, dtype=dtype, strict=False)}), source)


@pytest.mark.parametrize(
    ("values", "classes", "codes"),
    [
        ([0, 1, 1], ("0", "1"), [0, 1, 1]),
        ([0.0, 1.0], ("0", "1"), [0, 1]),
        ([True, False], ("false", "true"), [1, 0]),
        (["spam", "ham"], ("ham", "spam"), [1, 0]),
    ],
)
def test_binary(values, classes, codes):
    fitted = Target.fit(table(values), "y", "binary")
    y = fitted.encode(table(values))
    assert fitted.classes == classes and y.tolist() == codes and y.dtype == torch.float32


def test_binary_with_a_positive_class_of_choice():
    fitted = Target.fit(table(["ham", "spam"]), "y", "binary", positive="ham")
    assert fitted.classes == ("spam", "ham") and fitted.encode(table(["ham", "spam"])).tolist() == [1, 0]
    with pytest.raises(DataError, match="the positive class 'eggs' does not occur"):
        Target.fit(table(["ham", "spam"]), "y", "binary", positive="eggs")


def test_multiclass_in_the_order_of_numbers_or_letters():
    fitted = Target.fit(table([10, 2, 2, 1]), "y", "multiclass")
    y = fitted.encode(table([10, 2, 1]))
    assert fitted.classes == ("1", "2", "10") and y.tolist() == [2, 1, 0] and y.dtype == torch.int64
    assert Target.fit(table(["b", "a", "10"]), "y", "multiclass").classes == ("10", "a", "b")


def test_regression_learns_its_scale():
    fitted = Target.fit(table([1, 3]), "y", "regression")
    assert (fitted.mean, fitted.std) == (2.0, 1.0)
    assert fitted.encode(table([5])).tolist() == [5.0]


def test_ranking():
    fitted = Target.fit(table([0, 1.5, 4]), "y", "ranking")
    assert fitted.encode(table([0, 0])).tolist() == [0, 0]  # a split may have no relevant document


def test_plain_state():
    fitted = Target.fit(table(["a", "b"]), "y", "binary")
    assert Target.from_dict(fitted.to_dict()) == fitted


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("binary", [0, 1, None, 1, None], "x.csv: column 'y': the target is missing: rows 3, 5"),
        ("binary", [0.0, 1.0, math.nan], "the target is missing: row 3"),
        ("binary", [0, 1, 2], "task=binary needs 0 and 1, found 2: row 3"),
        ("binary", [-1, 1], "task=binary needs 0 and 1, found -1: row 1"),
        ("binary", [0.5, 1], "task=binary needs 0 and 1, found 0.5: row 1"),
        ("binary", [1, 1], "the target is '1' in all rows"),
        (
            "binary",
            ["a", "b", "c"],
            r"needs two classes, found 3 \('a', 'b', 'c'\); task=multiclass takes more",
        ),
        ("multiclass", [1, None], "the target is missing: row 2"),
        ("multiclass", ["a", "a"], "the target is 'a' in all rows"),
        ("multiclass", [0.5, 1.5, 2.0], "needs labels, found 0.5; task=regression takes numbers: rows 1, 2"),
        ("regression", [1.0, math.nan], "the target is missing: row 2"),
        ("regression", [1.0, math.inf], "infinite values: row 2"),
        ("regression", ["1", "2", "?!"], "text where a number belongs .*: row 3"),
        ("regression", [2, 2], "the target is 2 in all rows"),
        ("ranking", [0, 0], "the target is 0 in all rows"),
        ("ranking", [0, None], "the target is missing: row 2"),
        ("ranking", ["high", "low"], "text where a number belongs"),
    ],
)
def test_refused_in_train(task, values, message):
    with pytest.raises(DataError, match=message) as error:
        Target.fit(table(values), "y", task)
    assert str(error.value).startswith("x.csv: column 'y': ")


@pytest.mark.parametrize(
    ("task", "train", "values", "message"),
    [
        (
            "multiclass",
            ["a", "b"],
            ["a", "c", "c"],
            "x.csv .val.: column 'y': class 'c' does not occur in train: rows 2, 3",
        ),
        ("binary", [0, 1], [1, 7], "class '7' does not occur in train: row 2"),
        ("binary", [0, 1], [1, None], "the target is missing: row 2"),
        ("regression", [0, 1], [1, math.inf], "infinite values: row 2"),
        ("ranking", [0, 1], [1, -1], "relevance must be in 0 … 30, found -1: row 2"),
        ("ranking", [0, 1], [400, 1], "relevance must be in 0 … 30, found 400: row 1"),
    ],
)
def test_refused_in_another_split(task, train, values, message):
    fitted = Target.fit(table(train), "y", task)
    with pytest.raises(DataError, match=message):
        fitted.encode(table(values, "x.csv (val)"))
