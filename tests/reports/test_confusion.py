"""The confusion matrix is drawn by label, be it a word, a number or a blank."""

from __future__ import annotations

import numpy as np
import polars as pl

from lit_mlfund.reports.figures import caption
from lit_mlfund.reports.pictures import confusion


def test_rows_are_true_labels_and_columns_predictions() -> None:
    table = pl.DataFrame(
        {
            "target": [0, 0, 0, 1, 2],
            "label": ["\n", "\n", "\n", "$x", "10"],
            "prediction": ["\n", "\n", "10", "$x", "\n"],
        }
    )
    (axis, *_) = confusion(table).axes
    shown = [label.get_text() for label in axis.get_yticklabels()]
    assert shown == ["10", r"'\n'", r"\$x"]
    np.testing.assert_allclose(axis.images[0].get_array(), [[0, 1, 0], [1 / 3, 2 / 3, 0], [0, 0, 1]])


def test_of_many_classes_the_most_confused_are_shown() -> None:
    labels = [f"c{number:02}" for number in range(40)]
    table = pl.DataFrame({"label": labels * 2, "prediction": [*labels, *labels[:2][::-1], *labels[2:]]})
    (axis, *_) = confusion(table, max_classes=2).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["c00", "c01"]


def test_classes_that_are_left_out_are_named_and_shares_are_of_all_rows() -> None:
    """Of c0 half of the rows are taken for c3, which is not drawn."""
    table = pl.DataFrame(
        {
            "label": ["c0"] * 4 + ["c1"] * 4 + ["c2"] * 3 + ["c3"] * 2,
            "prediction": ["c3", "c3", "c1", "c0"] + ["c0"] * 3 + ["c1"] + ["c2"] * 3 + ["c3"] * 2,
        }
    )
    figure = confusion(table, max_classes=2)
    axis = figure.axes[0]
    np.testing.assert_allclose(axis.images[0].get_array(), [[0.25, 0.25], [0.75, 0.25]])
    assert axis.get_title() == "the 2 of 4 classes that are confused most"
    assert caption(figure) == (
        "Drawn are the 2 of 4 classes that are confused most. "
        "Left out are 2 with 5 rows, of which 0 are predicted wrongly: c2, c3."
    )
