"""Long texts: Python's own documentation or a file, in three splits that share no text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.read import find_file
from lit_mlfund.data.reading.split import SPLITS, remaining

_MIN_PARAGRAPH = 40  # characters: shorter ones ("Notes:") say nothing of where they are from


def documentation(fractions: Mapping[str, float]) -> dict[str, str]:
    """Split -> the topics of `help()` (the language reference), as the running Python carries them.

    Topics stay whole and in their alphabetical order: the last of them are test, those before validation. Some
    topics are parts of others ("while" of "compound"), so a paragraph of 40 characters or more is kept once
    only: of test and validation all, of train what is not in them.
    """
    from pydoc_data.topics import topics

    chosen = split_in_order({name: len(text) for name, text in topics.items()}, fractions)
    seen: set[str] = set()
    texts = {}
    for split in reversed(SPLITS):
        kept = [_unseen(topics[name], seen) for name in chosen[split]]
        texts[split] = "\n\n".join(filter(None, kept))
    return {split: texts[split] for split in SPLITS}


def split_in_order(sizes: Mapping[str, int], fractions: Mapping[str, float]) -> dict[str, list[str]]:
    """Split -> names, in the order given; a name goes where its middle lies when all are laid side by side."""
    starts, total, before = remaining(dict(fractions)), sum(sizes.values()), 0
    chosen: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, size in sizes.items():
        middle = (before + size / 2) / total
        chosen[SPLITS[sum(start <= middle for start in starts) - 1]].append(name)
        before += size
    return chosen


def _unseen(text: str, seen: set[str]) -> str:
    """The paragraphs of `text` that are not in `seen`, where they are put; white space makes no difference."""
    kept = []
    for paragraph in text.split("\n\n"):
        words = " ".join(paragraph.split())
        if words not in seen:
            kept.append(paragraph)
        if len(words) >= _MIN_PARAGRAPH:
            seen.add(words)
    return "\n\n".join(kept)


def split_text(text: str, fractions: Mapping[str, float]) -> dict[str, str]:
    """Split -> its part of one text: the end is test, what is before it validation; cut at ends of lines."""
    cuts = [_end_of_line(text, round(start * len(text))) for start in remaining(dict(fractions))]
    parts = zip(("train", *fractions), cuts, [*cuts[1:], len(text)])
    return {split: text[start:stop] for split, start, stop in parts}


def repeated_share(text: str, train: str) -> float:
    """The share of the lines of `text`, those of 40 characters or more, that `train` has too."""
    known = set(train.split("\n"))
    lines = [line for line in text.split("\n") if len(line) >= _MIN_PARAGRAPH]
    return sum(line in known for line in lines) / max(len(lines), 1)


def _end_of_line(text: str, position: int) -> int:
    """Behind the first line break at or after `position`, if one is near; else `position`."""
    found = text.find("\n", position, position + 1000)
    return position if position == 0 or found < 0 else found + 1


def read_text(path: str) -> str:
    """The text of a UTF-8 file, a byte order mark left out.

    Raises:
        DataError: there is none, it is empty, or no UTF-8; the message names the line.
    """
    try:
        content = find_file(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: byte {content[error.start]:#04x} is no UTF-8; save the text as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return re.sub("\r\n?", "\n", text)
