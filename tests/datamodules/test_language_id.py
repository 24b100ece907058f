"""Message catalogues against Python's own reader, and a split that keeps a message together."""

import gettext
import struct

import polars as pl
import pytest

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.sources.installed import installed_file
from lit_mlfund.data.sources.languages import read_catalogue, translated_messages
from lit_mlfund.datamodules.language_id import LanguageIdDataModule


@pytest.fixture(scope="module")
def django():
    pytest.importorskip("django")
    return installed_file("django", "django/conf/locale/__init__.py").parent


@pytest.mark.parametrize("language", ["de", "ja", "ar"])
def test_catalogues_equal_what_gettext_reads(django, language):
    file = django / language / "LC_MESSAGES" / "django.mo"
    with open(file, "rb") as stream:
        reference = gettext.GNUTranslations(stream)._catalog
    expected = {}
    for source, text in reference.items():
        source, plural = source if isinstance(source, tuple) else (source, 0)
        if source and plural == 0:
            expected[source.rpartition("\4")[2]] = text
    assert dict(read_catalogue(file)) == expected


@pytest.mark.parametrize(
    "content", [b"", b"no catalogue at all, but long enough", struct.pack("<5I", 0x950412DE, 0, 9, 28, 99)]
)
def test_damaged_catalogues_are_named(tmp_path, content):
    (tmp_path / "x.mo").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.mo: a damaged message catalogue"):
        list(read_catalogue(tmp_path / "x.mo"))


def test_messages_are_translated_long_enough_and_distinct(django):
    frame = translated_messages(12, min_bytes=20)
    assert frame["language"].n_unique() == 12
    assert frame["text"].str.len_bytes().min() >= 20
    assert not (frame["text"] == frame["source"]).any()
    assert frame.select("text", "language").is_unique().all()
    assert not frame["language"].str.contains("_").any()
    with pytest.raises(DataError, match="num_languages must be in 2"):
        translated_messages(1000)


def test_a_message_is_in_one_split_in_all_languages(django, tmp_path):
    data = LanguageIdDataModule(num_languages=8, vocab_size=2000)
    data.setup()
    frame = translated_messages(8)
    sources = {split: set(frame["source"][store.index.tolist()]) for split, store in data.stores.items()}
    assert not sources["train"] & (sources["val"] | sources["test"]) and not sources["val"] & sources["test"]
    assert data.spec.classes == tuple(sorted(frame["language"].unique()))
    assert sum(map(len, data.stores.values())) == frame.height

    served = LanguageIdDataModule()
    served.load_state_dict(data.state_dict())
    pl.DataFrame({"text": ["ein Satz"], "language": [data.spec.classes[2]]}).write_csv(tmp_path / "new.csv")
    (batch,) = served.new_loader(str(tmp_path / "new.csv"), need_target=True)[0]
    assert batch.y.tolist() == [2]
