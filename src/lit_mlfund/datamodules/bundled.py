"""Small tables out of installed packages."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from lit_mlfund.data.bundled import breast_cancer, diabetes, diamonds
from lit_mlfund.data.encoder import Roles
from lit_mlfund.data.split import split_table
from lit_mlfund.data.table import Table
from lit_mlfund.datamodules.frame import FrameDataModule

FRACTIONS = {"val": 0.15, "test": 0.15}


class _Bundled(FrameDataModule):
    """A table split at random by `split_seed`, which is apart from `seed`: seeds share a test split."""

    def __init__(
        self,
        *,
        batch_size: int,
        seed: int,
        split_seed: int,
        roles: Roles,
        frame: Callable[[], pl.DataFrame],
        positive: str | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, roles=roles, positive=positive)
        self.split_seed = split_seed
        self.frame = frame

    def read(self) -> dict[str, Table]:
        classes = self.roles.target if self.roles.task == "binary" else None
        self.remarks = [f"val, test: drawn at random (split_seed {self.split_seed})"]
        table = Table.of(self.frame(), self.frame.__name__)
        return split_table(table, FRACTIONS, seed=self.split_seed, classes=classes)


class BreastCancerDataModule(_Bundled):
    """Is a tumour malignant? 569 of them by 30 measurements of their cell nuclei (scikit-learn)."""

    tasks = ("binary",)

    def __init__(self, *, batch_size: int, seed: int, split_seed: int = 0) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            split_seed=split_seed,
            roles=Roles("binary", "diagnosis"),
            frame=breast_cancer,
            positive="malignant",
        )


class DiabetesDataModule(_Bundled):
    """How far will diabetes have advanced in a year? 442 patients by 10 measurements (scikit-learn)."""

    tasks = ("regression",)

    def __init__(self, *, batch_size: int, seed: int, split_seed: int = 0) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            split_seed=split_seed,
            roles=Roles("regression", "progression"),
            frame=diabetes,
        )


class DiamondsDataModule(_Bundled):
    """What is the price of a diamond? 53,940 of them by carat, cut, colour, clarity, measures (plotnine)."""

    tasks = ("regression",)

    def __init__(self, *, batch_size: int, seed: int, split_seed: int = 0) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            split_seed=split_seed,
            roles=Roles("regression", "price"),
            frame=diamonds,
        )
