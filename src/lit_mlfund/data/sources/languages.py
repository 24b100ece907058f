"""Reads short texts in many languages from the message catalogues in Django's package."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.sources.installed import installed_file

_MAGIC = 0x950412DE


def translated_messages(num_languages: int, min_bytes: int = 12) -> pl.DataFrame:
    """Read one row per message: `text`, its `language` (Django's locale name) and the English `source`.

    The languages are those with the most messages; regional variants (`es_AR`) are left out. So are untranslated
    messages, those shorter than `min_bytes` in UTF-8 (an ideograph, which carries more information, has three
    bytes), and repetitions within a language.

    Raises:
        DataError: Django is not installed, or has fewer languages.
    """
    root = installed_file("django", "django/conf/locale/__init__.py", "lit_mlfund[data]").parents[2]
    rows = []
    for file in sorted(root.rglob("locale/*/LC_MESSAGES/django.mo")):
        language = file.parts[-3]
        if "_" not in language or language == "zh_Hans":
            rows += [(text, language, source) for source, text in read_catalogue(file)]
    frame = pl.DataFrame(rows, schema=["text", "language", "source"], orient="row")
    frame = frame.filter(pl.col("text") != pl.col("source"))
    frame = frame.unique(["text", "language"], keep="first", maintain_order=True)
    ordered = frame["language"].value_counts().sort(["count", "language"], descending=[True, False])
    if not 2 <= num_languages <= ordered.height:
        raise DataError(f"num_languages must be in 2 … {ordered.height}, got {num_languages}")
    chosen = ordered["language"][:num_languages].implode()
    return frame.filter(pl.col("language").is_in(chosen), pl.col("text").str.len_bytes() >= min_bytes)


def read_catalogue(file: Path) -> Iterator[tuple[str, str]]:
    """Yield English message and translation (singular, without context) of a compiled gettext catalogue.

    The format is specified in the GNU gettext manual, "The Format of GNU MO Files".
    """
    content = file.read_bytes()
    try:
        order = "<" if struct.unpack("<I", content[:4])[0] == _MAGIC else ">"
        _, count, sources, texts = struct.unpack(f"{order}4I", content[4:20])
        for i in range(count):
            source, text = (_string(content, order, start + 8 * i) for start in (sources, texts))
            if source:  # the empty message is the catalogue's header
                yield source.rpartition("\4")[2], text
    except (struct.error, UnicodeDecodeError) as error:
        raise DataError(f"{file}: a damaged message catalogue ({error})") from error


def _string(content: bytes, order: str, offset: int) -> str:
    length, start = struct.unpack_from(f"{order}2I", content, offset)
    return content[start : start + length].split(b"\0")[0].decode()
