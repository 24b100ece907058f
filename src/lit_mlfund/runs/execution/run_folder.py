"""Writes a checked configuration to a new run folder, and reads it from there to execute the run."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_mlfund.atomic import WriteError, write_text
from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.moved import current_layout

RUN_FILE = "run.yaml"


def freeze(config: dict[str, Any], command: Sequence[str] = ()) -> Path:
    """Create `<runs_dir>/<task>/<time>-<name>-<random>/run.yaml` and return its folder.

    Data paths are made absolute, so that the run can be resumed from anywhere.

    Args:
        config: checked, resolved configuration.
        command: the command line, as a comment for readers of the file.

    Raises:
        WriteError: the disk is full or read-only; no folder is left behind.
    """
    config = {**config, "run": None, "data": _absolute(config["data"])}
    text = f"# {shlex.join(command)}\n" if command else ""
    text += OmegaConf.to_yaml(OmegaConf.create(config))
    with _new_folder(Path(config["runs_dir"]).expanduser(), task_name(config), config["name"]) as folder:
        write_text(folder / RUN_FILE, text)
    return folder


def rewrite(run_dir: Path, config: DictConfig, comment: str) -> None:
    """Write a configuration whose words became numbers to `run.yaml`, with a comment that says how."""
    file = run_dir / RUN_FILE
    comments = [line for line in file.read_text().splitlines() if line.startswith("#")]
    write_text(file, "\n".join([*comments, f"# {comment}", OmegaConf.to_yaml(config)]))


def load_frozen(run_dir: Path) -> dict[str, Any]:
    """Load the configuration of a run folder; raise ConfigError if there is none or it cannot be read."""
    file = run_dir / RUN_FILE
    if not run_dir.is_dir():
        raise ConfigError(f"run: there is no folder {run_dir}")
    if not file.is_file():
        raise ConfigError(f"run: {run_dir} is not a run folder: it has no {RUN_FILE}")
    try:
        config = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except (OmegaConfBaseException, ValueError, OSError) as error:
        raise ConfigError(f"run: {file} cannot be read: {error}") from error
    except Exception as error:  # yaml.YAMLError, without importing its module in all other cases
        raise ConfigError(f"run: {file} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"run: {file} is damaged: expected a mapping")
    return current_layout({str(key): value for key, value in config.items()})


def _absolute(data: dict[str, Any]) -> dict[str, Any]:
    """Make `path` and every `…_path` of the data node absolute, relative to the current directory."""
    return {
        key: str(Path(value).expanduser().absolute())
        if (key == "path" or key.endswith("_path")) and isinstance(value, str) and "://" not in value
        else value
        for key, value in data.items()
    }


@contextmanager
def _new_folder(runs_dir: Path, task: str, name: str) -> Iterator[Path]:
    """Create a run folder; remove it, and the parents created with it, if writing into it fails."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = runs_dir.absolute() / task / f"{stamp}-{name}-{secrets.token_hex(3)}"
    new_folders = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        for parent in new_folders:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, WriteError):
            raise
        raise WriteError(f"cannot make the run folder {folder}: {error.strerror}") from error
