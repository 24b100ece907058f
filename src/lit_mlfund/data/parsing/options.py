"""Holds what the user says of the spelling of a text file; what is not said is recognised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

# Cells of text files that mean a missing value.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?")

# Words for characters that a shell, or the grammar of Hydra, takes for its own.
CHARACTERS = {
    "comma": ",",
    "point": ".",
    "dot": ".",
    "space": " ",
    "apostrophe": "'",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "bar": "|",
}
WORDS = {",": "comma", ".": "point", " ": "space", "'": "apostrophe"}

DateFormats = str | Mapping[str, str]


@dataclass(frozen=True)
class Parsing:
    """Tells how a text file spells its table; None leaves the part to be recognised.

    encoding     of the characters, as Python calls it
    separator    between cells
    header       line of the names of columns, counted from 1; 0 for a file without them
    decimal      decimal mark: comma or point
    thousands    mark between groups of three digits
    missing      cells that mean a missing value, in place of `MISSING`
    date_format  in the notation of strptime: of all columns, or by column
    """

    encoding: str | None = None
    separator: str | None = None
    header: int | None = None
    decimal: str | None = None
    thousands: str | None = None
    missing: tuple[str, ...] | None = None
    date_format: DateFormats | None = None

    @classmethod
    def of(
        cls,
        encoding: str | None = None,
        separator: str | None = None,
        header: int | None = None,
        missing: Sequence[str] | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        date_format: DateFormats | None = None,
    ) -> Self:
        """Check the options of a data module; raise a ValueError that names the option."""
        if encoding is not None:
            check_encoding(encoding)
        if header is not None and header < 0:
            raise ValueError(f"data.header must be the number of a line, or 0 for no header; got {header}")
        marks = {
            "separator": (separator, ",;\t| "),
            "decimal": (decimal, ",."),
            "thousands": (thousands, ",. '"),
        }
        found = {}
        for name, (given, allowed) in marks.items():
            mark = found[name] = None if given is None else CHARACTERS.get(given, given)
            if mark is not None and (len(mark) != 1 or mark not in allowed):
                words = ", ".join(
                    word
                    for word, character in CHARACTERS.items()
                    if character in allowed and "\\" not in word
                )
                raise ValueError(f"data.{name} must be one of {words}; got {given!r}")
        if found["decimal"] is not None and found["decimal"] == found["thousands"]:
            raise ValueError(f"data.decimal and data.thousands are both {decimal!r}")
        if found["decimal"] is None and found["thousands"] in (",", "."):
            found["decimal"] = "." if found["thousands"] == "," else ","
        return cls(
            encoding,
            found["separator"],
            header,
            found["decimal"],
            found["thousands"],
            None if missing is None else tuple(map(str, missing)),
            date_format if date_format is None or isinstance(date_format, str) else dict(date_format),
        )

    @property
    def null_values(self) -> list[str]:
        """Return the cells that mean a missing value."""
        return list(MISSING if self.missing is None else self.missing)

    def names(self, column: str) -> bool:
        """Return whether a form of dates is given for this column by name."""
        return isinstance(self.date_format, Mapping) and column in self.date_format

    def format_of(self, column: str) -> str | None:
        """Return the form of dates that is given for a column."""
        if isinstance(self.date_format, Mapping):
            return self.date_format.get(column)
        return self.date_format


def check_encoding(encoding: str) -> None:
    """Raise a ValueError that names the option where there is no such encoding of text."""
    try:
        "".encode(encoding)  # `codecs.lookup` knows base64 and the like, too
    except LookupError:
        raise ValueError(
            f"data.encoding: there is no encoding {encoding!r}; try latin-1, cp1252, cp1250, cp1251, utf-16"
        ) from None
