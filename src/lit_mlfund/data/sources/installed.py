"""Locates data files inside installed packages without importing the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lit_mlfund.data.reading.errors import DataError


def installed_file(package: str, path: str, install: str | None = None) -> Path:
    """Return the file `path` of an installed package; `install` names what to install where it is missing.

    Raises:
        DataError: the package, or the file in it, is missing.
    """
    hint = f"; install it with: pip install '{install or package}'"
    try:
        file = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        raise DataError(
            f"this data set is a file of the package {package}, which is not installed{hint}"
        ) from None
    if not file.is_file():
        raise DataError(f"{file}: the package {package} should have this file{hint}")
    return file
