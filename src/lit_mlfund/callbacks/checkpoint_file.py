"""Writes checkpoint files atomically, so that even a full disk leaves no truncated file."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lit_mlfund.atomic import whole_file


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
            except RuntimeError as error:  # the only error that torch's writer has for a full disk
                if not any(word in str(error) for word in ("inline_container", "PytorchStreamWriter")):
                    raise
                raise OSError(errno.ENOSPC, "the disk is full or failing") from error
