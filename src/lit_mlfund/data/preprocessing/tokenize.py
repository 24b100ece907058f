"""Turns text into token ids without a fitted vocabulary: hashed words, hashed n-grams, or bytes.

All texts of a call are processed as one array of code points, so the cost per text is a few array
operations. The hash is plain arithmetic modulo 2^64: the same on every machine and in every process,
which Python's `hash` of a string is not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_mlfund.data.serving.spec import Field

TokenizerKind = Literal["ngrams", "words", "bytes"]

_PRIME = np.uint64(0x9E3779B97F4A7C15)  # odd, hence invertible modulo 2^64
_BLOCK = 8192  # texts at a time: bounds the memory of intermediate arrays
_SPACE, _LOWER, _UPPER, _DIGIT = range(4)


class Words(NamedTuple):
    """Holds the words of N texts, text after text.

    `letters [L]` are the code points of all W words in lower case, `start [W+1]` where a word begins in them,
    `text [W]` the text that a word is from and `hash [W]` a 64-bit hash of the word.
    """

    letters: NDArray[np.uint32]
    start: NDArray[np.int64]
    text: NDArray[np.int64]
    hash: NDArray[np.uint64]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the finaliser of SplitMix64 (Steele, Lea and Flood 2014): all input bits affect all output bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _powers(count: int) -> NDArray[np.uint64]:
    """Return 1, p, p², … modulo 2^64."""
    powers = np.full(count, _PRIME)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _classify(points: NDArray[np.uint32]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Return class (space, lower, upper, digit) and lower-case code point of each code point."""
    occurs = np.zeros(0x110000, dtype=bool)
    occurs[points] = True
    kind = np.zeros(0x110000, dtype=np.uint8)
    lower = np.zeros(0x110000, dtype=np.uint32)
    for point in np.flatnonzero(occurs).tolist():
        character = chr(point)
        category = unicodedata.category(character)
        if category[0] in "LMN":  # marks belong to words: Hindi or Arabic vowels are marks
            kind[point] = _UPPER if category == "Lu" else _DIGIT if category == "Nd" else _LOWER
        lowered = character.lower()
        lower[point] = ord(lowered) if len(lowered) == 1 else point
    return kind[points], lower[points]


def split_words(texts: Sequence[str]) -> Words:
    """Split texts into words, identifiers too: `getHTTPResponse_v2` is get, http, response, v, 2."""
    joined = "\0".join([*texts, ""])
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    kind, lower = _classify(points)

    word = kind != _SPACE
    before = np.zeros_like(kind)
    before[1:] = kind[:-1]
    after = np.zeros_like(kind)
    after[:-1] = kind[1:]
    begins = word & (
        (before == _SPACE)
        | ((kind == _DIGIT) != (before == _DIGIT))
        | ((kind == _UPPER) & ((before == _LOWER) | (after == _LOWER)))
    )

    letters = lower[word]
    start = np.append(np.flatnonzero(begins[word]), len(letters))
    text = np.repeat(np.arange(len(texts)), sizes + 1)[begins]
    if len(letters) == 0:
        return Words(letters, start, text, np.zeros(0, np.uint64))
    length = np.diff(start)
    position = np.arange(len(letters)) - np.repeat(start[:-1], length)
    terms = _mix(letters.astype(np.uint64) + np.uint64(1)) * _powers(int(length.max()))[position]
    return Words(letters, start, text, _mix(np.add.reduceat(terms, start[:-1])))


def _ranges(start: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return start[0], start[0]+1, … (count[0] of them), start[1], … in one array."""
    return np.arange(count.sum()) + np.repeat(start - (np.cumsum(count) - count), count)


def _word_ngrams(
    letters: NDArray[np.uint32], length: NDArray[np.int64], sizes: range
) -> list[NDArray[np.uint64]]:
    """Hash, for each size n, the character n-grams of ` word ` (two spaces added), word after word."""
    padded = np.full(len(letters) + 2 * len(length), ord(" "), dtype=np.uint64)
    padded[np.arange(len(letters)) + 2 * np.repeat(np.arange(len(length)), length) + 1] = letters
    values, powers = _mix(padded + np.uint64(1)), _powers(sizes.stop)
    start = np.cumsum(length + 2) - length - 2
    hashes = []
    for n in sizes:
        begin = _ranges(start, np.maximum(length + 3 - n, 0))
        hashes.append(_mix(np.uint64(n) + sum(values[begin + step] * powers[step] for step in range(n))))
    return hashes


@dataclass(frozen=True)
class Tokenizer:
    """Maps text to ids 1 … vocab_size-1, right-padded with 0, keeping the first `max_length` of them.

    kind        tokens of a text
    words       its words, identifiers split (see `split_words`), hashed
    ngrams      per word: the word, the word with its successor, its character n-grams of `char_ngrams` sizes,
                hashed; for models that pool (Joulin et al. 2017, fastText)
    bytes       its UTF-8 bytes plus one; `vocab_size` is 257
    """

    kind: TokenizerKind
    vocab_size: int = 32768
    max_length: int = 256
    char_ngrams: tuple[int, int] = (3, 5)

    def __post_init__(self) -> None:
        if self.kind not in ("ngrams", "words", "bytes"):
            raise ValueError(f"tokenizer must be ngrams, words or bytes, got {self.kind!r}")
        if self.kind == "bytes":
            object.__setattr__(self, "vocab_size", 257)
        if self.vocab_size < 2:
            raise ValueError(f"vocab_size must be at least 2 (id 0 is padding), got {self.vocab_size}")
        if self.max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {self.max_length}")
        shortest, longest = self.char_ngrams
        if not 1 <= shortest <= longest:
            raise ValueError(f"char_ngrams must be two sizes, the smaller first, got {self.char_ngrams}")
        object.__setattr__(self, "char_ngrams", (shortest, longest))  # a checkpoint holds a list

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return ids `[N, T]` int32 of N texts, T the longest of them (at least 1, at most `max_length`)."""
        blocks = [
            self._truncate(*self.ragged(texts[i : i + _BLOCK])) for i in range(0, max(1, len(texts)), _BLOCK)
        ]
        length = np.concatenate([length for _, length in blocks])
        ids = np.zeros((len(texts), max(1, length.max(initial=0))), dtype=np.int32)
        ids[np.arange(ids.shape[1]) < length[:, None]] = np.concatenate([flat for flat, _ in blocks])
        return torch.from_numpy(ids)

    def ragged(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the ids of all texts, one after another, and their numbers `[N]`; `max_length` cuts bytes alone."""
        kinds = {"bytes": self._bytes, "words": self._words, "ngrams": self._ngrams}
        return kinds[self.kind](texts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint; `Tokenizer(**state)` restores the tokenizer."""
        return {**asdict(self), "char_ngrams": list(self.char_ngrams)}

    @property
    def field(self) -> Field:
        """Describe the ids for a model."""
        return Field("tokens", (self.max_length,), cardinalities=(self.vocab_size,))

    def _truncate(
        self, flat: NDArray[np.int32], length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Drop the ids of each text beyond `max_length`."""
        if len(length) and length.max() > self.max_length:
            flat = flat[_ranges(np.zeros_like(length), length) < self.max_length]
            length = np.minimum(length, self.max_length)
        return flat, length

    def _bytes(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        parts = [text[: self.max_length].encode("utf-8", "replace") for text in texts]
        flat = np.frombuffer(b"".join(parts), dtype=np.uint8).astype(np.int32) + 1
        return flat, np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))

    def _words(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        words = split_words(texts)
        return self._ids(words.hash), np.bincount(words.text, minlength=len(texts))

    def _ngrams(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        words = split_words(texts)
        # Texts repeat their words: the n-grams are computed once per distinct word, as a block of ids
        # (word, its successor, n-grams), and the blocks are then arranged in the order of the texts.
        _, first, inverse = np.unique(words.hash, return_index=True, return_inverse=True)
        length = np.diff(words.start)[first]
        sizes = range(self.char_ngrams[0], self.char_ngrams[1] + 1)
        grams = _word_ngrams(words.letters[_ranges(words.start[first], length)], length, sizes)
        counts = np.stack([np.full_like(length, 2), *(np.maximum(length + 3 - n, 0) for n in sizes)])
        block = counts.sum(axis=0)
        begin = np.cumsum(block) - block
        table = np.zeros(block.sum(), dtype=np.int32)
        table[begin] = self._ids(words.hash[first])
        for offset, count, values in zip(np.cumsum(counts, axis=0), counts[1:], grams):
            table[_ranges(begin + offset, count)] = self._ids(values)

        count = block[inverse]
        flat = table[_ranges(begin[inverse], count)]
        follower = np.zeros_like(words.hash)  # 0: the end of the text
        same = words.text[1:] == words.text[:-1]
        follower[:-1][same] = words.hash[1:][same]
        flat[np.cumsum(count) - count + 1] = self._ids(_mix(words.hash * _PRIME + follower))
        return flat, np.bincount(words.text, weights=count, minlength=len(texts)).astype(np.int64)

    def _ids(self, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Map each hash to an id, never the 0 of padding."""
        return (hashes % np.uint64(self.vocab_size - 1)).astype(np.int32) + 1
