"""Which language is this message in?"""

from __future__ import annotations

from typing import Literal

from lit_mlfund.data.reading.frames import Source, is_frame
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.sources.languages import translated_messages
from lit_mlfund.datamodules.text import TextDataModule

EMBEDDED = "Django's message catalogues"


class LanguageIdDataModule(TextDataModule):
    """Short messages in many languages, out of the package Django; in all of them a message is in one split.

    A new file needs the column `text`, and `language` (Django's locale names) to be measured.

    Args:
        num_languages: those with the most messages, regional variants left out.
        min_bytes: UTF-8 bytes that a message must have.
        tokenizer, vocab_size, max_length: as in `TextDataModule`.
        val_fraction, test_fraction, split_seed: of the English messages.
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
            path=EMBEDDED,
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
        if is_frame(path) or path != EMBEDDED:
            return super().read_file(path)
        return Table.of(translated_messages(self.num_languages, self.min_bytes), path)
