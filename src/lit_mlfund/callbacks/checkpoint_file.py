"""Checkpoint files that appear whole or not at all, also on a disk that fills up."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lit_mlfund.atomic import whole_file


class WholeFileCheckpointIO(TorchCheckpointIO):
    """Writes beside the file, flushes and renames.

    Lightning's own writes to the system's temporary folder and moves; from one disk to another that is a copy,
    which a full disk or a kill cuts short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Raises WriteError when the disk does not take it; the file that was there stays."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            try:
                torch.save(checkpoint, beside)
            except RuntimeError as error:  # torch's writer has no other word for a full disk
                if not any(word in str(error) for word in ("inline_container", "PytorchStreamWriter")):
                    raise
                raise OSError(errno.ENOSPC, "the disk is full, or failing") from error
