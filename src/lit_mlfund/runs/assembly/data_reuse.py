"""What a job of a sweep has loaded, for the next one that wants the same: read, fitted and encoded once."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:  # torch: nothing for the check of a sweep
    from torch import Tensor

    from lit_mlfund.data.reading.file_watch import Signature
    from lit_mlfund.datamodules import DataModule

SERVING = ("batch_size", "seed")  # arguments of our data modules that tell how rows are served, not which


@dataclass(frozen=True)
class Loaded:
    """A data module right behind its loading, and what tells whether another would load the same.

    section    the arguments that loading depends on
    files      signatures of the files that were read, by path
    checksums  of all tensors of the stores: a run that has changed them must not hand them on
    """

    section: dict[str, Any]
    data: DataModule
    files: dict[str, Signature]
    checksums: list[int]

    @classmethod
    def of(cls, section: dict[str, Any], data: DataModule) -> Loaded | None:
        """None for data that have to be loaded for each run.

        These are what other packages load, of which nobody knows what it depends on; images, many files that
        nobody watches; and what is on the disk in encoded form already.
        """
        from lit_mlfund.data.serving.mapped import Mapped
        from lit_mlfund.datamodules import ImagesDataModule

        ours = type(data).__module__.startswith("lit_mlfund.") and not isinstance(data, ImagesDataModule)
        if not ours or any(isinstance(store, Mapped) for store in data.stores.values()):
            return None
        return cls(section, _apart(data), dict(data.watch.signatures), _checksums(data))

    def fits(self, section: dict[str, Any]) -> bool:
        """Whether `section` would load what this is: equal arguments, equal files, and nothing was written over."""
        return (
            section == self.section
            and _files(section) == self.files
            and _checksums(self.data) == self.checksums
        )

    def as_in(self, fresh: DataModule) -> DataModule:
        """A data module with what was loaded, and with the arguments of `fresh` for serving it."""
        data = _apart(self.data)
        for name in SERVING:
            setattr(data, name, getattr(fresh, name))
        data.watch = fresh.watch
        data.watch.add(*self.files.values())
        return data


class LoadedOnce:
    """Keeps the data of the last job; those of others are gone before new ones are loaded."""

    def __init__(self) -> None:
        self.last: Loaded | None = None

    def load(self, section: dict[str, Any], data: DataModule) -> DataModule:
        """`data` set up, or another one in its place that shares what was loaded before."""
        if self.last is not None and self.last.fits(section):
            return self.last.as_in(data)
        self.last = None
        data.setup("fit")
        self.last = Loaded.of(section, data)
        return data


_once: LoadedOnce | None = None


@contextmanager
def loading_once() -> Iterator[None]:
    """Within this block runs share what they load alike, in this process."""
    global _once
    _once = LoadedOnce()
    try:
        yield
    finally:
        _once = None


def load_data(config: DictConfig) -> DataModule:
    """The data module of a configuration, set up.

    Raises DataError where the data do not fit the configuration.
    """
    from lit_mlfund.runs.assembly.objects import build_data

    data = build_data(config)
    if _once is None:
        data.setup("fit")
        return data
    node = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(node, dict)
    section = {str(key): value for key, value in node.items() if key not in SERVING}
    return _once.load(section, data)


def _apart(data: DataModule) -> DataModule:
    """The same stores in an object of its own, to which a trainer can be attached and a checkpoint restored."""
    other = copy.copy(data)
    other.stores = dict(data.stores)
    return other


def _files(section: Mapping[str, Any]) -> dict[str, Signature] | None:
    """Signatures of the files that a section names, as they are now; None where one cannot be read."""
    from lit_mlfund.data.reading.errors import DataError
    from lit_mlfund.data.reading.file_watch import Signature

    paths = [value for key, value in section.items() if key == "path" or key.endswith("_path")]
    try:
        found = [Signature.of(path) for path in paths if path is not None]
    except (DataError, OSError):
        return None
    return {signature.path: signature for signature in found}


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
