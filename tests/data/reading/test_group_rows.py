"""Grouping of rows into lists by query, and features relative to their query."""

import numpy as np
import torch

from lit_mlfund.data.reading.group_rows import group_rows, standardize_within


def test_rows_of_a_query_come_together():
    order, offsets = group_rows(np.array(["b", "a", "b", "c", "a", "b"]))
    assert order.tolist() == [0, 2, 5, 1, 4, 3]
    assert offsets.tolist() == [0, 3, 5, 6]


def test_standardised_within_each_query():
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0], [2.0, 1e6], [7.0, 1.0], [8.0, 2.0], [12.0, 3.0]])
    offsets = torch.tensor([0, 2, 2, 3, 6])
    standardised = standardize_within(values, offsets)
    expected = torch.zeros_like(values)
    for start, end in ((0, 2), (2, 3), (3, 6)):
        part = values[start:end].numpy()
        deviation = part.std(0)
        expected[start:end] = torch.from_numpy((part - part.mean(0)) / np.where(deviation > 0, deviation, 1))
    torch.testing.assert_close(standardised, expected)
