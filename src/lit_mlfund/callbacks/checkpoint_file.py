"""Writes checkpoint files atomically, so that even a full disk leaves no truncated file."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lit_mlfund.atomic import whole_file
from lit_mlfund.config.errors import ConfigError


class WholeFileCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file in the same folder, flushes it and renames it.

    Lightning's own implementation writes to the system's temporary folder and moves the file; across file systems
    the move is a copy, which a full disk or a kill can truncate.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save `checkpoint` to `path`; raise WriteError if that fails, and leave an existing file unchanged."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError:
                # torch's own writer does not tell why; once more through a file of Python's, which does. It must be a
                # new one: the writer that failed still writes to its own when it is deleted.
                temporary.unlink(missing_ok=True)
                with open(temporary, "wb") as file:
                    _save_to(file, checkpoint)

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Load a checkpoint of this project; raise ConfigError where the file is damaged or another's."""
        try:
            state = super().load_checkpoint(path, *arguments, **options)
        except _DAMAGES as error:
            if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
                raise ConfigError(
                    f"checkpoint: {path} holds code beside tensors and was not loaded{_way_on(path)}"
                ) from error
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(f"checkpoint: {path} is damaged ({reason}){_way_on(path)}") from error
        if not isinstance(state, dict) or "lit_mlfund" not in state:
            raise ConfigError(f"checkpoint: {path} was not written by lit_mlfund{_way_on(path)}")
        return state


# What torch raises for files that are cut short, overwritten, or hold more than tensors.
_DAMAGES = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    IndexError,
)


def _way_on(path: str | Path) -> str:
    return "; without it the run starts from the beginning" if Path(path).name == "last.ckpt" else ""


class _Reporting:
    """Forwards writes to a file and keeps the first error, which torch replaces by one of its own."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def _save_to(file: BinaryIO, checkpoint: dict[str, Any]) -> None:
    """Save `checkpoint` to `file`; raise the system's error where writing fails."""
    reporting = _Reporting(file)
    try:
        torch.save(checkpoint, cast(BinaryIO, reporting))  # torch asks for no more than `write` and `flush`
        file.flush()
    except RuntimeError:
        if reporting.error is not None:
            raise reporting.error from None
        raise
