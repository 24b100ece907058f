"""Token ids against a letter-by-letter tokenizer in plain Python."""

import subprocess
import sys
import unicodedata

import pytest
import torch

from lit_mlfund.data.preprocessing.tokenize import Tokenizer, split_words

TEXTS = [
    "getHTTPResponse_v2 of the HTTPServer",
    "",
    "  \n\t ",
    "naïve Ünïcode हिन्दी 日本語 x",
    "a",
    "nul\0and\ud800surrogate",
    "the the the server",
    "ÀB İstanbul ΣΑΣ",
]


def plain_words(text):
    """The words of a text, one character at a time."""

    def kind(c):
        category = unicodedata.category(c)
        if category[0] not in "LMN":
            return " "
        return "U" if category == "Lu" else "9" if category == "Nd" else "l"

    words, kinds = [], [kind(c) for c in text] + [" "]
    for i, c in enumerate(text):
        if kinds[i] == " ":
            continue
        before = kinds[i - 1] if i else " "
        begins = (
            before == " "
            or (kinds[i] == "9") != (before == "9")
            or (kinds[i] == "U" and (before == "l" or kinds[i + 1] == "l"))
        )
        small = c.lower() if len(c.lower()) == 1 else c
        words = [*words, small] if begins else [*words[:-1], words[-1] + small]
    return words


def mix(x):
    m = 2**64 - 1
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & m
    x = (x ^ x >> 27) * 0x94D049BB133111EB & m
    return x ^ x >> 31


def plain_hash(text, start=0):
    p, m = 0x9E3779B97F4A7C15, 2**64 - 1
    return mix((start + sum(mix(ord(c) + 1) * pow(p, i, 2**64) for i, c in enumerate(text))) & m)


def plain_ids(tokenizer, text):
    words = plain_words(text)
    hashes = [plain_hash(word) for word in words]
    if tokenizer.kind == "ngrams":
        tokens = []
        for i, word in enumerate(words):
            follower = hashes[i + 1] if i + 1 < len(words) else 0
            tokens += [hashes[i], mix((hashes[i] * 0x9E3779B97F4A7C15 + follower) % 2**64)]
            for n in range(tokenizer.char_ngrams[0], tokenizer.char_ngrams[1] + 1):
                padded = f" {word} "
                tokens += [plain_hash(padded[j : j + n], n) for j in range(len(padded) - n + 1)]
        hashes = tokens
    return [h % (tokenizer.vocab_size - 1) + 1 for h in hashes][: tokenizer.max_length]


def test_identifiers_are_split_and_every_script_has_words():
    words = split_words(TEXTS)
    spelled = ["".join(map(chr, words.letters[a:b])) for a, b in zip(words.start, words.start[1:])]
    expected = [(i, word) for i, text in enumerate(TEXTS) for word in plain_words(text)]
    assert list(zip(words.text.tolist(), spelled)) == expected
    assert spelled[:8] == ["get", "http", "response", "v", "2", "of", "the", "http"]
    assert "हिन्दी" in spelled


@pytest.mark.parametrize("kind", ["words", "ngrams"])
@pytest.mark.parametrize("max_length", [1, 7, 1000])
def test_hashed_ids_equal_the_plain_tokenizer(kind, max_length):
    tokenizer = Tokenizer(kind, vocab_size=5003, max_length=max_length, char_ngrams=(2, 4))
    expected = [plain_ids(tokenizer, text) for text in TEXTS]
    ids = tokenizer(TEXTS)
    assert ids.dtype == torch.int32
    assert ids.shape == (len(TEXTS), max(map(len, expected)))
    assert [row[row > 0].tolist() for row in ids] == expected
    assert all((row[len(e) :] == 0).all() for row, e in zip(ids, expected))


def test_bytes_are_the_utf8_bytes_plus_one():
    ids = Tokenizer("bytes", max_length=4)(["é€", "", "ab", "lone \ud800"])
    expected = [[b + 1 for b in "é€".encode()][:4], [], [98, 99], [b + 1 for b in b"lone"]]
    assert [row[row > 0].tolist() for row in ids] == expected
    assert Tokenizer("bytes").vocab_size == 257


def test_texts_do_not_influence_each_other(monkeypatch):
    together = Tokenizer("ngrams")(TEXTS)
    monkeypatch.setattr("lit_mlfund.data.preprocessing.tokenize._BLOCK", 3)
    assert torch.equal(Tokenizer("ngrams")(TEXTS), together)
    for text, row in zip(TEXTS, together):
        alone = Tokenizer("ngrams")([text])[0]
        assert torch.equal(row[row > 0], alone[alone > 0])


def test_ids_are_the_same_in_another_process():
    code = (
        "from lit_mlfund.data.preprocessing.tokenize import Tokenizer\n"
        "print(Tokenizer('ngrams')(['a process'])[0].tolist())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other.strip() == str(Tokenizer("ngrams")(["a process"])[0].tolist())


def test_no_text_and_no_word():
    assert Tokenizer("ngrams")([]).shape == (0, 1)
    assert Tokenizer("words")(["", "!?"]).tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "bpe"}, "ngrams, words or bytes, got 'bpe'"),
        ({"kind": "words", "vocab_size": 1}, "vocab_size must be at least 2"),
        ({"kind": "words", "max_length": 0}, "max_length must be at least 1"),
        ({"kind": "ngrams", "char_ngrams": (4, 3)}, "char_ngrams"),
    ],
)
def test_impossible_tokenizers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer(**options)
