"""Shares the data that one job of a sweep has read, fitted and encoded with the next job that needs the same."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:  # they import torch, which the check of a sweep does not need
    from torch import Tensor

    from lit_mlfund.data.reading.file_watch import Signature
    from lit_mlfund.datamodules import DataModule

SERVING = ("batch_size", "seed")  # arguments of our data modules that affect how rows are served, not which


@dataclass(frozen=True)
class LoadedData:
    """Holds a data module as it was loaded, and the key that decides whether another would load the same.

    section    arguments of the data module that loading depends on
    files      signatures of the files that were read, by path
    checksums  of all tensors of the stores: a run that has changed them must not pass them on
    """

    section: dict[str, Any]
    data: DataModule
    files: dict[str, Signature]
    checksums: list[int]

    @classmethod
    def of(cls, section: dict[str, Any], data: DataModule) -> LoadedData | None:
        """Record a loaded data module; return None if its data have to be loaded for each run.

        These are data modules of other packages, as it is unknown what their data depend on; images, as their many
        files are not watched; and tables that are on the disk in encoded form already.
        """
        from lit_mlfund.data.serving.mapped import Mapped
        from lit_mlfund.datamodules import ImagesDataModule

        ours = type(data).__module__.startswith("lit_mlfund.") and not isinstance(data, ImagesDataModule)
        if not ours or any(isinstance(store, Mapped) for store in data.stores.values()):
            return None
        return cls(section, _copy(data), dict(data.watch.signatures), _checksums(data))

    def matches(self, section: dict[str, Any]) -> bool:
        """Return whether `section` would load the same data: equal arguments and files, and unchanged tensors."""
        return (
            section == self.section
            and _files(section) == self.files
            and _checksums(self.data) == self.checksums
        )

    def served_as(self, fresh: DataModule) -> DataModule:
        """Return a data module with the loaded data, and with the arguments of `fresh` for serving them."""
        data = _copy(self.data)
        for name in (*SERVING, "batch_by_rows"):
            setattr(data, name, getattr(fresh, name))
        data.size_batches()
        data.watch = fresh.watch
        data.watch.add(*self.files.values())
        return data


class DataCache:
    """Caches the data of the last job, and drops them before others are loaded."""

    def __init__(self) -> None:
        self.last: LoadedData | None = None
        self.told = ""

    def load(self, section: dict[str, Any], data: DataModule) -> DataModule:
        """Set up `data` and return it; or return another data module that shares the cached data."""
        if self.last is not None and self.last.matches(section):
            return self.last.served_as(data)
        self.last = None
        data.setup("fit")
        self.last = LoadedData.of(section, data)
        return data


_cache: DataCache | None = None


@contextmanager
def shared_data() -> Iterator[None]:
    """Let the runs that this process executes in the block share equal data."""
    global _cache
    _cache = DataCache()
    try:
        yield
    finally:
        _cache = None


def told_before(text: str) -> bool:
    """Return whether the run before in `shared_data` told the same of its data; remember what this one tells."""
    if _cache is None:
        return False
    before, _cache.told = _cache.told, text
    return text == before


def load_data(config: DictConfig) -> DataModule:
    """Build the data module of a configuration and set it up.

    Raises:
        DataError: the data do not fit the configuration.
    """
    from lit_mlfund.runs.assembly.objects import build_data

    data = build_data(config)
    if _cache is None:
        data.setup("fit")
        return data
    node = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(node, dict)
    section = {str(key): value for key, value in node.items() if key not in SERVING}
    return _cache.load(section, data)


def _copy(data: DataModule) -> DataModule:
    """Return a copy with the same stores, to which a trainer can be attached and a checkpoint restored."""
    copied = copy.copy(data)
    copied.stores = dict(data.stores)
    return copied


def _files(section: Mapping[str, Any]) -> dict[str, Signature] | None:
    """Sign the files that a section names, as they are now; return None if one cannot be read."""
    from lit_mlfund.data.reading.errors import DataError
    from lit_mlfund.data.reading.file_watch import Signature

    paths = [value for key, value in section.items() if key == "path" or key.endswith("_path")]
    try:
        signatures = [Signature.of(path) for path in paths if path is not None]
    except (DataError, OSError):
        return None
    return {signature.path: signature for signature in signatures}


def _checksums(data: DataModule) -> list[int]:
    import torch

    def tensors(value: Any) -> Iterator[Tensor]:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, Mapping):
            for part in value.values():
                yield from tensors(part)

    return [
        zlib.crc32(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        for store in data.stores.values()
        for value in vars(store).values()
        for tensor in tensors(value)
    ]
