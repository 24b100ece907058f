"""Reads long texts: Python's own documentation or a file, in three splits that share no text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lit_mlfund.data.parsing.file_layout import BOMS
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.read import find_file
from lit_mlfund.data.reading.split import SPLITS, split_starts

_MIN_PARAGRAPH = 40  # characters: shorter ones ("Notes:") do not identify their source


def documentation(fractions: Mapping[str, float]) -> dict[str, str]:
    """Return split -> the topics of `help()` (the language reference) that the running Python ships.

    Topics stay in alphabetical order, each in one split: the last are test, those before validation. Some topics
    repeat parts of others ("while" in "compound"), so a paragraph of 40 characters or more is kept only once: in
    test if it occurs there, else in validation, else in train.
    """
    from pydoc_data.topics import topics

    chosen = split_in_order({name: len(text) for name, text in topics.items()}, fractions)
    seen: set[str] = set()
    texts = {}
    for split in reversed(SPLITS):
        parts = [_drop_seen(topics[name], seen) for name in chosen[split]]
        texts[split] = "\n\n".join(filter(None, parts))
    return {split: texts[split] for split in SPLITS}


def split_in_order(sizes: Mapping[str, int], fractions: Mapping[str, float]) -> dict[str, list[str]]:
    """Assign names to splits in their given order, each by where its middle falls in the cumulative size."""
    starts, total, before = split_starts(dict(fractions)), sum(sizes.values()), 0
    chosen: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, size in sizes.items():
        middle = (before + size / 2) / total
        chosen[SPLITS[sum(start <= middle for start in starts) - 1]].append(name)
        before += size
    return chosen


def _drop_seen(text: str, seen: set[str]) -> str:
    """Return the paragraphs of `text` that are not in `seen`, and add the long ones to it; ignore white space."""
    unseen = []
    for paragraph in text.split("\n\n"):
        words = " ".join(paragraph.split())
        if words not in seen:
            unseen.append(paragraph)
        if len(words) >= _MIN_PARAGRAPH:
            seen.add(words)
    return "\n\n".join(unseen)


def split_text(text: str, fractions: Mapping[str, float]) -> dict[str, str]:
    """Split one text at line ends: the end is test, the part before it validation."""
    cuts = [_end_of_line(text, round(start * len(text))) for start in split_starts(dict(fractions))]
    parts = zip(("train", *fractions), cuts, [*cuts[1:], len(text)])
    return {split: text[start:stop] for split, start, stop in parts}


def repeated_share(text: str, train: str) -> float:
    """Return the share of the lines of `text` with 40 characters or more that `train` has too."""
    known = set(train.split("\n"))
    lines = [line for line in text.split("\n") if len(line) >= _MIN_PARAGRAPH]
    return sum(line in known for line in lines) / max(len(lines), 1)


def _end_of_line(text: str, position: int) -> int:
    """Return the position behind the first line break at or after `position` if one is near, else `position`."""
    line_break = text.find("\n", position, position + 1000)
    return position if position == 0 or line_break < 0 else line_break + 1


def read_text(path: str, encoding: str | None = None) -> str:
    """Read a file, without its byte order mark and with newlines as line ends.

    Without an `encoding` it is UTF-8, or UTF-16 with a mark at its start.

    Raises:
        DataError: no such file, an empty one, or one of another encoding; for UTF-8 the message names the line.
    """
    try:
        content = find_file(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    known = encoding or next((name for bom, name in BOMS if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(known).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if encoding is not None or known != "utf-8":
            raise DataError(f"{path}: it is not written in {encoding or known} ({error})") from error
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: byte {content[error.start]:#04x} is not valid UTF-8; say data.encoding=cp1252 "
            "(Western Europe on Windows), latin-1 or another, or save the text as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return re.sub("\r\n?", "\n", text)
