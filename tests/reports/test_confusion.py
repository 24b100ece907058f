"""The confusion matrix is drawn by label, be it a word, a number or a blank."""

from __future__ import annotations

import numpy as np
import polars as pl

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
