"""Provides a text to be continued character by character: Python's own documentation, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
from torch import Tensor

from lit_mlfund.data.parsing.options import check_encoding
from lit_mlfund.data.preprocessing.characters import UNKNOWN, Characters
from lit_mlfund.data.reading.documents import documentation, read_text, repeated_share, split_text
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.reading.frames import Source
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.token_windows import WindowStore
from lit_mlfund.datamodules.base import DataModule

PIECE = 2**17  # positions in the windows of a new file that are predicted at a time
MAX_REPEATED = 0.05  # share of the lines of validation or test that are in train too; a note reports more
MAX_UNKNOWN = 0.5  # share of a new file's characters; more means another script, or another encoding


class TextLMDataModule(DataModule):
    """Serves windows of a text in which each character's target is the next one; a row is a position.

    Without `path` the text is that of `help()`, split by topic, with no paragraph in two splits. Characters that are
    not in the training text are one class, `<unknown>`. In evaluation each character counts once and has at least
    half a window of context (except for the first ones).

    Args:
        path: a text file; its end is the test split, the part before that validation.
        val_path, test_path: separate files for these splits …
        val_fraction, test_fraction: … or fractions of the text.
        length: characters in a window, the longest context of a model.
        stride: characters from one training window to the next; an epoch shows each `length / stride` times.
        encoding: encoding of the files, such as `latin-1`; None is UTF-8, or UTF-16 with a mark at its start.
    """

    tasks = ("multiclass",)
    inputs = ("sequence",)
    eval_batch_size = 32
    takes_frames = False

    def __init__(
        self,
        *,
        batch_size: int = 4,
        seed: int = 0,
        path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        length: int = 128,
        stride: int = 128,
        encoding: str | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed)
        for name, value in (("length", length), ("stride", stride)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if path is None and (val_path or test_path):
            raise ValueError("val_path and test_path go with a path of the training text")
        if encoding is not None:
            check_encoding(encoding)
        self.path = path
        self.encoding = encoding
        self.split_paths = {"val": val_path, "test": test_path}
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.length = length
        self.stride = stride
        self.characters: Characters | None = None

    def build(self) -> None:
        texts = self._texts()
        if self.characters is None:
            self.characters = Characters.fit(texts["train"])
        tokens = {split: self.characters.encode(text) for split, text in texts.items()}
        self.stores = {split: self._store(split, ids) for split, ids in tokens.items()}
        names = self.characters.names
        self.spec = DataSpec(
            task="multiclass",
            inputs={"tokens": Field("sequence", (self.length,), cardinalities=(len(names),))},
            classes=names,
            target="next character",
            num_train=len(self.stores["train"]),
        )
        unknown = {split: _num_unknown(ids) for split, ids in tokens.items()}
        self.summary = {
            "rows": {split: len(ids) - 1 for split, ids in tokens.items()},
            "columns": {"text": self.path or "Python's documentation"},
            "windows": {"length": self.length, **{split: len(store) for split, store in self.stores.items()}},
            "target": {"column": "next character", "classes": len(names)},
            "unknown_categories": {split: {"text": count} for split, count in unknown.items() if count},
            "notes": self._notes(texts),
        }

    def preprocessing(self) -> dict[str, Any]:
        return {"characters": self._fitted_characters().known, "length": self.length}

    def restore(self, state: dict[str, Any]) -> None:
        self.characters = Characters(state["characters"])
        self.length = state["length"]

    def new_loader(self, path: Source, need_target: bool) -> tuple[BatchLoader, pl.DataFrame]:
        text, store = self._read_new(path)
        # the first character is never a target
        return self.serve(store), pl.DataFrame({"character": list(text[1:])})

    def new_pieces(self, path: Source, need_target: bool) -> Iterator[tuple[BatchLoader, pl.DataFrame]]:
        text, store = self._read_new(path)
        assert store.scored is not None
        ends = store.start + self.length + 1  # where the characters that a window predicts end
        begins = ends - store.scored
        step = max(1, PIECE // self.length)
        for first in range(0, len(store), step):
            last = min(first + step, len(store)) - 1
            characters = list(text[int(begins[first]) : int(ends[last])])
            yield self.serve(store.subset(slice(first, last + 1))), pl.DataFrame({"character": characters})

    def _read_new(self, path: str) -> tuple[str, WindowStore]:
        text = read_text(path, self.encoding)
        ids = self._fitted_characters().encode(text)
        unknown = _num_unknown(ids)
        if unknown > MAX_UNKNOWN * len(ids):
            raise DataError(
                f"{path}: {unknown / len(ids):.0%} of the characters never occur in the training text, such as "
                f"{next(c for c in text if c not in self._fitted_characters().known)!r}; is it another script?"
            )
        self.notes = {"unknown_characters": unknown}
        return text, self._windows(path, ids)

    def _texts(self) -> dict[str, str]:
        if self.path is None:
            return documentation(self.fractions)
        self.watch.add(
            *(Signature.of(path) for path in (self.path, *self.split_paths.values()) if path is not None)
        )
        separate = {
            split: read_text(path, self.encoding)
            for split, path in self.split_paths.items()
            if path is not None
        }
        shares = {split: share for split, share in self.fractions.items() if split not in separate}
        texts = split_text(read_text(self.path, self.encoding), shares) | separate
        return {split: texts[split] for split in ("train", "val", "test")}

    def _notes(self, texts: dict[str, str]) -> list[str]:
        if self.path is None:
            return ["split by topic of help(); no paragraph of 40 characters or more is in two splits"]
        notes = []
        for split, path in self.split_paths.items():
            source = path or f"a share of {self.fractions[split]:g} at the end of the text"
            repeated = repeated_share(texts[split], texts["train"])
            note = f"; {repeated:.0%} of its long lines are in train too" if repeated > MAX_REPEATED else ""
            notes.append(f"{split}: {source}{note}")
        return notes

    def _store(self, split: str, ids: Tensor) -> WindowStore:
        if split != "train":
            return self._windows(f"{self.split_paths.get(split) or self.path}: the {split} split", ids)
        self._windows(f"{self.path}: the train split", ids)
        return WindowStore.strided(ids, self.length, self.stride)

    def _windows(self, source: str, ids: Tensor) -> WindowStore:
        try:
            return WindowStore.scored_once(ids, self.length)
        except ValueError as error:
            raise DataError(
                f"{source}: {len(ids)} characters are fewer than one window of {self.length} and the next "
                "character; give more text, or a smaller data.length"
            ) from error

    def _fitted_characters(self) -> Characters:
        if self.characters is None:
            raise RuntimeError("nothing is fitted yet: call setup() or load_state_dict() first")
        return self.characters


def _num_unknown(ids: Tensor) -> int:
    return int((ids == UNKNOWN).sum())
