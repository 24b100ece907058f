"""Reads plain `key=value` arguments, for the verbs that compose no configuration."""

from __future__ import annotations

from pathlib import Path

from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.run_folders.names import find_run

TRUST = "--trust"
OUTPUT_FLAGS = {"json": ("--json",), "quiet": ("-q", "--quiet"), "verbose": ("-v", "--verbose")}


def take_trust(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments without every `--trust PACKAGE` (or `--trust=PACKAGE`), and these packages.

    Raises:
        ConfigError: a flag without the name of a package behind it.
    """
    rest, trust, words = [], [], iter(arguments)
    for word in words:
        flag, equals, name = word.partition("=")
        if flag != TRUST:
            rest.append(word)
            continue
        name = name if equals else next(words, "")
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"{TRUST}: expected the name of a package, got {name or 'nothing'}")
        trust.append(name)
    return rest, trust


def take_output(arguments: list[str]) -> tuple[list[str], dict[str, bool]]:
    """Return the arguments without the flags of what is printed, and whether each of these was given.

    Raises:
        ConfigError: two flags that contradict each other.
    """
    given = {name: any(word in flags for word in arguments) for name, flags in OUTPUT_FLAGS.items()}
    if given["quiet"] and given["verbose"]:
        raise ConfigError("--quiet: says less, --verbose more; leave one of them out")
    known = {flag for flags in OUTPUT_FLAGS.values() for flag in flags}
    return [word for word in arguments if word not in known], given


def read_keys(arguments: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """Return the values by key; raises ConfigError with every argument that is not one of `known`.

    The first word that is no key, as in `mlfund evaluate latest`, is the run.
    """
    values: dict[str, str] = {}
    problems = []
    for word in arguments:
        key, equals, value = word.partition("=")
        if is_run_word(word, known) and "run" in known and "run" not in values:
            values["run"] = word
            continue
        if key not in known:
            problems.append(f"{key}: unknown; {suggestion(key, known)}")
        elif not equals or not value:
            problems.append(f"{word}: expected {key}=…")
        elif key in values:
            problems.append(f"{key} is given twice")
        else:
            values[key] = value
    if problems:
        raise ConfigError(problems)
    return values


def is_run_word(word: str, known: tuple[str, ...]) -> bool:
    """Return whether a word names a run by itself, rather than being `key=value` or a key without its value."""
    key, equals, _ = word.partition("=")
    return key not in known and not word.startswith("-") and (not equals or Path(word).is_dir())


def given_run(values: dict[str, str]) -> Path:
    """Return the folder of the run that was given, by its folder or by a name.

    Raises:
        ConfigError: none was given, or none or several fit it.
    """
    if "run" not in values:
        raise ConfigError("run is required: pass run=<folder of a finished run>, or a name such as latest")
    return find_run(values["run"])


def finished_run(values: dict[str, str]) -> tuple[Path, str, list[str]]:
    """Return the run folder, the checkpoint (`best` or `last`) and what is wrong with them."""
    checkpoint = values.get("checkpoint", "best")
    problems = []
    if checkpoint not in ("best", "last"):
        problems.append(f"checkpoint: expected best or last, got {checkpoint}")
    try:
        run_dir = given_run(values)
    except ConfigError as error:
        return Path(), checkpoint, [*problems, *error.problems]
    if not (run_dir / "run.yaml").is_file():
        problems.append(f"run: {run_dir} is not a run folder: it has no run.yaml")
    elif not problems and not (run_dir / "checkpoints" / f"{checkpoint}.ckpt").is_file():
        problems.append(f"run: {run_dir} has no checkpoints/{checkpoint}.ckpt; was it trained?")
    return run_dir, checkpoint, problems


def new_file(values: dict[str, str]) -> tuple[str | None, list[str]]:
    """Return the file or folder of `data.path=`, and what is wrong with it."""
    if "data.path" not in values:
        return None, []
    path = Path(values["data.path"]).expanduser().absolute()
    return str(path), [] if path.exists() else [f"data.path: there is no file {path}"]
