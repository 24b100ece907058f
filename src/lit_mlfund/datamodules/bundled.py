"""Provides small tables from installed packages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl

from lit_mlfund.data.preprocessing.table_encoder import Roles
from lit_mlfund.data.reading.split import split_table
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.sources.small_tables import breast_cancer, diabetes, diamonds
from lit_mlfund.datamodules.frame import FrameDataModule

FRACTIONS = {"val": 0.15, "test": 0.15}
OUTLIER_FACTOR = 10.0  # a misplaced decimal point


class _Bundled(FrameDataModule):
    """Splits a table at random by `split_seed`, which is separate from `seed`: all seeds share a test split.

    `outliers` is the fraction of training rows whose target is multiplied by ten, for comparing losses. Whatever is
    fitted on the training split sees these targets; validation and test have none.
    """

    def __init__(
        self,
        *,
        batch_size: int,
        seed: int,
        split_seed: int,
        roles: Roles,
        frame: Callable[[], pl.DataFrame],
        positive: str | None = None,
        outliers: float = 0.0,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, roles=roles, positive=positive)
        if not 0 <= outliers < 1:
            raise ValueError(f"outliers must be a share from 0 to below 1, got {outliers}")
        self.split_seed = split_seed
        self.frame = frame
        self.outliers = outliers

    def read(self) -> dict[str, Table]:
        classes = self.roles.target if self.roles.task == "binary" else None
        self.remarks = [f"val, test: drawn at random (split_seed {self.split_seed})"]
        table = Table.of(self.frame(), self.frame.__name__)
        tables = split_table(table, FRACTIONS, seed=self.split_seed, classes=classes)
        if self.outliers:
            tables["train"] = self._with_outliers(tables["train"])
        return tables

    def _with_outliers(self, table: Table) -> Table:
        size = round(self.outliers * len(table))
        rows = np.random.default_rng(self.split_seed).choice(len(table), size, replace=False)
        values = table.numbers(self.roles.target).copy()
        values[rows] *= OUTLIER_FACTOR
        self.remarks.append(f"train: {size} targets made {OUTLIER_FACTOR:g} times as large (outliers)")
        column = pl.Series(self.roles.target, values)
        return dataclasses.replace(table, frame=table.frame.with_columns(column))


class BreastCancerDataModule(_Bundled):
    """Provides 569 tumours, malignant or benign, with 30 measurements of their cell nuclei (scikit-learn)."""

    tasks = ("binary",)

    def __init__(self, *, batch_size: int = 32, seed: int = 0, split_seed: int = 0) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            split_seed=split_seed,
            roles=Roles("binary", "diagnosis"),
            frame=breast_cancer,
            positive="malignant",
        )


class DiabetesDataModule(_Bundled):
    """Provides the progression of diabetes within a year: 442 patients with 10 measurements (scikit-learn)."""

    tasks = ("regression",)

    def __init__(
        self, *, batch_size: int = 32, seed: int = 0, split_seed: int = 0, outliers: float = 0.0
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            split_seed=split_seed,
            roles=Roles("regression", "progression"),
            frame=diabetes,
            outliers=outliers,
        )


class DiamondsDataModule(_Bundled):
    """Provides the prices of 53,940 diamonds with carat, cut, colour, clarity and dimensions (ggplot2)."""

    tasks = ("regression",)

    def __init__(
        self, *, batch_size: int = 256, seed: int = 0, split_seed: int = 0, outliers: float = 0.0
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            split_seed=split_seed,
            roles=Roles("regression", "price"),
            frame=diamonds,
            outliers=outliers,
        )
