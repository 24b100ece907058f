"""Writes checkpoint files atomically, and reads only those that are as they were written."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lit_mlfund.atomic import whole_file
from lit_mlfund.config.errors import ConfigError, first_line
from lit_mlfund.modules.base import CHECKPOINT_FORMAT


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
        """Load a checkpoint of this project to the CPU; raise ConfigError as `read_checkpoint` does."""
        last = Path(path).name == "last.ckpt"
        return read_checkpoint(path, "; without it the run starts from the beginning" if last else "")


def read_checkpoint(path: str | Path, way_on: str = "", mmap: bool = False) -> dict[str, Any]:
    """Load a checkpoint of this project as plain tensors and Python; pickled code in it is refused, never run.

    Args:
        path: the file; every byte of its tensors is held against its checksum.
        way_on: what can be done without the file, for the end of a message.
        mmap: leave the tensors on the disk until they are used.

    Raises:
        ConfigError: the file is missing, damaged, hostile, of a newer version, or not a checkpoint of this project.
    """
    if not Path(path).is_file():
        raise ConfigError(f"checkpoint: there is no file {path}{way_on}")
    require_whole(path, way_on)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # whatever torch raises for a file that is another's or hostile
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            raise ConfigError(
                f"checkpoint: {path} holds code beside tensors and was not loaded{way_on}"
            ) from error
        raise _damaged(path, error, way_on) from error
    if not isinstance(state, dict) or not isinstance(state.get("lit_mlfund"), dict):
        raise ConfigError(f"checkpoint: {path} was not written by lit_mlfund{way_on}")
    written = state["lit_mlfund"].get("format", CHECKPOINT_FORMAT)
    if not isinstance(written, int) or written > CHECKPOINT_FORMAT:
        raise ConfigError(
            f"checkpoint: {path} was written by a newer lit_mlfund, in format {written}; this version reads formats up "
            f"to {CHECKPOINT_FORMAT}: update lit_mlfund{way_on}"
        )
    return state


def holds_training(path: Path) -> bool:
    """Return whether training can go on from a checkpoint: it is there, with the state of its optimizer.

    One that cannot be read, or is none of ours, is told when it is loaded.
    """
    if not path.is_file():
        return path.exists()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:
        return True
    is_ours = isinstance(state, dict) and "lit_mlfund" in state
    return not (is_ours and "state_dict" in state) or "optimizer_states" in state


def require_whole(path: str | Path, way_on: str = "") -> None:
    """Compare every record of a checkpoint with its CRC-32, which torch writes but does not check when it loads.

    A file that is no archive is left to torch, which loads none of those that it writes today.

    Raises:
        ConfigError: a record is not as it was written.
    """
    try:
        open(path, "rb").close()
    except OSError as error:
        raise ConfigError(f"checkpoint: {path} cannot be read: {error.strerror}{way_on}") from error
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                _require_plain(record)
                with archive.open(record) as content:
                    while content.read(2**20):
                        pass
    except Exception as error:  # zipfile has errors of many kinds for what cannot be
        raise _damaged(path, error, way_on) from error


def _require_plain(record: zipfile.ZipInfo) -> None:
    """Raise BadZipFile for what torch never writes, and reads in another way than zipfile does.

    That is a compressed record, one of which zipfile would check the first part only, or a folder, which torch takes
    for an empty record.
    """
    if (
        record.compress_type != zipfile.ZIP_STORED
        or record.file_size != record.compress_size
        or record.external_attr
    ):
        raise zipfile.BadZipFile(f"record {record.filename!r} has an impossible header")


def _damaged(path: str | Path, error: Exception, way_on: str) -> ConfigError:
    return ConfigError(f"checkpoint: {path} is damaged ({first_line(error)}){way_on}")


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
