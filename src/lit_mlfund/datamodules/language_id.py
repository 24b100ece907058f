"""Provides short messages whose language is to be predicted."""

from __future__ import annotations

from typing import Literal

from lit_mlfund.data.reading.frames import Source, is_frame
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.sources.languages import translated_messages
from lit_mlfund.datamodules.text import TextDataModule

DJANGO = "Django's message catalogues"


class LanguageIdDataModule(TextDataModule):
    """Provides short messages of the package Django by language; all translations of a message are in one split.

    A new file needs the column `text`, and `language` (Django's locale names) to be evaluated.

    Args:
        num_languages: number of languages, those with the most messages; regional variants are left out.
        min_bytes: minimum length of a message in UTF-8 bytes.
        tokenizer, vocab_size, max_length: as in `TextDataModule`.
        val_fraction, test_fraction, split_seed: split the English messages.
    """

    tasks = ("multiclass",)

    def __init__(
        self,
        *,
        batch_size: int = 64,
        seed: int = 0,
        num_languages: int = 30,
        min_bytes: int = 12,
        tokenizer: Literal["ngrams", "words", "bytes"] = "ngrams",
        vocab_size: int = 65536,
        max_length: int = 256,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            task="multiclass",
            path=DJANGO,
            text="text",
            target="language",
            group="source",
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            max_length=max_length,
        )
        self.num_languages = num_languages
        self.min_bytes = min_bytes

    def read_file(self, path: Source) -> Table:
        if is_frame(path) or path != DJANGO:
            return super().read_file(path)
        return Table.of(translated_messages(self.num_languages, self.min_bytes), path)
