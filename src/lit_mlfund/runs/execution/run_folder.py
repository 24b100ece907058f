"""Writes a checked configuration to a new run folder, and reads it from there to execute the run."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
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
from lit_mlfund.run_folders.record import JOB
from lit_mlfund.run_folders.search import RUN_FILE

MOST_BYTES, DEEPEST, MOST_LINKS = (
    2**21,
    64,
    8,
)  # of `run.yaml`; those that are written here have no links at all
_LINK = re.compile(r"(?<!\\)\$\{[\w.\[\]@-]+\}")  # of one value to another


def freeze(
    config: dict[str, Any],
    command: Sequence[str] = (),
    folder: Path | None = None,
    given: Sequence[str] = (),
) -> Path:
    """Create `<runs_dir>/<task>/<time>-<name>-<random>/run.yaml` and return its folder.

    Data paths are made absolute, so that the run can be resumed from anywhere.

    Args:
        config: checked, resolved configuration.
        command: the command line, as a comment for readers of the file.
        folder: replaces the folder named above; it does not exist.
        given: the overrides of this job, where the command is that of a sweep; a comment, too.

    Raises:
        WriteError: the disk is full or read-only; no folder is left behind.
    """
    config = {**config, "run": None, "data": absolute_paths(config["data"])}
    text = f"# {shlex.join(command)}\n" if command else ""
    text += f"{JOB}{shlex.join(line.lstrip('+') for line in given)}\n" if command and given else ""
    text += OmegaConf.to_yaml(OmegaConf.create(config))
    folder = folder or _unique_folder(config)
    with _new_folder(folder) as beside:
        write_text(beside / RUN_FILE, text)
    return folder


def _unique_folder(config: dict[str, Any]) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{config['name']}-{secrets.token_hex(3)}"
    return Path(config["runs_dir"]).expanduser().absolute() / task_name(config) / name


def status_of(run_dir: Path) -> str | None:
    """Return the status in `result.json`; None where there is none, or it cannot be read."""
    try:
        return str(json.loads((run_dir / "result.json").read_text(encoding="utf-8"))["status"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


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
        _check_extent(file)
        loaded = OmegaConf.load(file)
        _check_values(OmegaConf.to_container(loaded))
        config = OmegaConf.to_container(loaded, resolve=True)
    except (OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"run: {file} cannot be read: {' '.join(str(error).split())}") from error
    except Exception as error:  # yaml.YAMLError, without importing its module in all other cases
        raise ConfigError(f"run: {file} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"run: {file} is damaged: expected a mapping")
    return current_layout({str(key): value for key, value in config.items()})


def _check_extent(file: Path) -> None:
    """Raise a ValueError where a file would take more time or memory than a configuration can need.

    Aliases multiply what they name, and deep nesting overflows the stack of the parser.
    """
    import yaml  # type: ignore[import-untyped]

    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    depth = 0
    for event in yaml.parse(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(
                f"line {event.start_mark.line + 1}: aliases (*{event.anchor}) are not used in a run"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"line {event.start_mark.line + 1}: it is nested more than {DEEPEST} deep")


def _check_values(config: Any) -> None:
    """Raise a ValueError for interpolations of anything but other values, and for numbers that nothing can hold."""
    links = 0

    def check(value: Any, path: str) -> None:
        nonlocal links
        if isinstance(value, dict):
            for key, part in value.items():
                if "_target_" in value and not isinstance(key, str):
                    raise ValueError(f"{path}: {key!r} is no name of an argument")
                check(key, path)
                check(part, f"{path}.{key}".removeprefix("."))
        elif isinstance(value, list):
            for position, part in enumerate(value):
                check(part, f"{path}[{position}]")
        elif isinstance(value, str) and "${" in value:
            links += value.count("${")
            if "${" in _LINK.sub("", value):
                raise ValueError(
                    f"{path}: {value} reads the environment or calls a resolver; give the value itself"
                )
            if links > MOST_LINKS:  # each may double the text that it stands in
                raise ValueError(f"{path}: a run has at most {MOST_LINKS} interpolations")
        elif isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"{path}: the number has more than 64 bits")

    check(config, "")


def absolute_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """Make `path` and every `…_path` of the data node absolute, relative to the current directory."""
    return {
        key: str(Path(value).expanduser().absolute())
        if (key == "path" or key.endswith("_path")) and isinstance(value, str) and "://" not in value
        else value
        for key, value in data.items()
    }


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Create a folder under a hidden name, and give it its name behind the block: nobody finds it half made.

    It is removed, with the parents created with it, if the block fails or a signal arrives.
    """
    beside = folder.with_name(f".{folder.name}")
    new_folders = [parent for parent in (beside, *folder.parents) if not parent.exists()]
    shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed here
    try:
        beside.mkdir(parents=True)
        yield beside
        beside.rename(folder)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        for parent in new_folders:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError) and not isinstance(error, WriteError):
            raise WriteError(f"cannot make the run folder {folder}: {error.strerror}") from error
        raise
