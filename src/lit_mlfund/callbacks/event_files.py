"""Writes TensorBoard event files; not in the package's `__init__`, so that TensorBoard is imported on demand.

A disk that refuses them ends the events, not the run.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from lit_mlfund.startup.streams import warn


class LastingRecords:
    """Writes records until the system refuses one, and drops it and those that follow.

    TensorBoard writes in a thread: an error there prints a traceback, and is raised again at some later event.
    """

    def __init__(self, records: Any):
        self.records = records
        self.error: OSError | None = None

    def write(self, data: bytes) -> None:
        self._attempt(self.records.write, data)

    def flush(self) -> None:
        self._attempt(self.records.flush)

    def close(self) -> None:
        if self.error is None:
            self._attempt(self.records.close)

    def _attempt(self, function: Any, *arguments: bytes) -> None:
        if self.error is not None:
            return
        try:
            function(*arguments)
        except OSError as error:
            self.error = error


def protect(writer: SummaryWriter) -> list[LastingRecords]:
    """Let the files of a writer end at the first record that cannot be written; return what writes them."""
    protected = []
    files: dict[str, Any] = writer.all_writers or {}
    for file in files.values():
        queue = file.event_writer._async_writer
        queue._writer = queue._worker._record_writer = LastingRecords(queue._writer)
        protected.append(queue._writer)
    return protected


class Nothing:
    """Takes every call and does nothing, in place of a writer that could not be created."""

    def __getattr__(self, name: str) -> Nothing:
        return self

    def __call__(self, *arguments: Any, **options: Any) -> Nothing:
        return self


@contextmanager
def open_events(folder: Path) -> Iterator[SummaryWriter]:
    """Yield a writer of one more event file in `folder`.

    Raises:
        OSError: at the end, if some events could not be written.
    """
    _require_space(folder)
    with SummaryWriter(str(folder)) as writer:
        records = protect(writer)
        yield writer
    for error in (part.error for part in records):
        if error is not None:
            raise error


class EventFiles(TensorBoardLogger):
    """Extends Lightning's TensorBoard logger: writes one event per step, and no hyperparameter file.

    That file would be empty: the hyperparameters are in `run.yaml`. Where the disk refuses events, training goes on
    without them, which is said once.
    """

    _records: list[LastingRecords] | None = None
    _stopped = False

    @property
    def experiment(self) -> SummaryWriter:
        """Return the writer, or one that drops everything where its file cannot be created."""
        if self._records is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._records = []
            try:
                _require_space(Path(self.log_dir))
                self._records = protect(super().experiment)
            except OSError as error:
                self._stop(error)
        return cast(SummaryWriter, Nothing()) if self._stopped and not self._records else super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers and scalar tensors as one event; leave other values to Lightning."""
        if self._stopped:
            return
        with self._lasting():
            if not all(isinstance(value, (int, float, Tensor)) for value in metrics.values()):
                super().log_metrics(metrics, step)
            else:
                values = [
                    Summary.Value(tag=name, simple_value=float(value)) for name, value in metrics.items()
                ]
                self.experiment._get_file_writer().add_summary(Summary(value=values), step)

    @rank_zero_only
    def save(self) -> None:
        """Flush logged events to disk, so that they are visible and survive a kill."""
        if self._stopped:
            return
        with self._lasting():
            self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush and close the file."""
        with self._lasting():
            super().finalize(status)

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        """Run a block that writes events; what the disk refuses is said the first time, and dropped."""
        error: OSError | None = None
        try:
            yield
        except OSError as refused:
            error = refused
        for records in self._records or ():
            error = error or records.error
        if error is not None:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        if not self._stopped:
            self._stopped = True
            warn(f"TensorBoard: the curves end here: {self.log_dir}: {error.strerror or error}")


def _require_space(folder: Path) -> None:
    """Raise the OSError that the writer of events would meet in its thread, where nobody can catch it."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".space.{secrets.token_hex(4)}"
    try:
        probe.write_bytes(bytes(4096))
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
