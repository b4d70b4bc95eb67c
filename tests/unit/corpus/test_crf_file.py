"""Files of CRFsuite are read only if no number in them leads astray: each part damaged on purpose, then at random."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
from hashlib import sha256
from pathlib import Path

import pytest

from txray import Tagger
from txray.corpus.crf_file import labels_of
from txray.errors import SnapshotError

LABELS, ATTRIBUTES, FEATURES_AT, LABELS_AT, ATTRIBUTES_AT, LABEL_LISTS_AT, ATTRIBUTE_LISTS_AT = range(
    20, 48, 4
)
"""Where the header says so."""


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    bank = tmp_path_factory.mktemp("bank") / "bank.conllu"
    tags = {"the": "DT", "river": "NN", "flows": "VB", "fast": "RB", ".": "."}
    rng = random.Random(0)
    sentences = [rng.choices(list(tags), k=5) for _ in range(20)]
    bank.write_text(
        "".join(
            "\n".join(f"{i}\t{w}\t_\tX\t{tags[w]}\t_\t0\troot\t_\t_" for i, w in enumerate(words, 1)) + "\n\n"
            for words in sentences
        )
    )
    return Tagger.train(bank, iterations=2)


@pytest.fixture
def content(tagger: Tagger) -> bytearray:
    return bytearray(tagger._model)


def number(content: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", content, at)[0])


def put(content: bytearray, at: int, value: int) -> None:
    struct.pack_into("<I", content, at, value)


def table(content: bytes, part: int, *, used: bool) -> int:
    """Where the reference of a hash table lies, one that has entries or one that has none."""
    begin = number(content, part) + 24
    return next(at for at in range(begin, begin + 2048, 8) if bool(number(content, at)) is used)


def test_the_labels_of_a_sound_file_are_given(tagger: Tagger, content: bytearray) -> None:
    assert sorted(labels_of(bytes(content))) == tagger.facts["tags"] == [".", "DT", "NN", "RB", "VB"]


def test_what_was_cut_off_is_noticed_wherever_it_ends(content: bytearray) -> None:
    for length in range(0, len(content), 97):
        whole = content[:length]
        for cut in (whole, whole[:4] + length.to_bytes(4, "little") + whole[8:]):
            with pytest.raises(ValueError, match="has|is"):
                labels_of(bytes(cut))


@pytest.mark.parametrize("at", range(0, 48, 4))
@pytest.mark.parametrize("value", [0, 3, 2**31 - 1, 2**32 - 1])
def test_no_number_of_the_header_is_believed(content: bytearray, at: int, value: int) -> None:
    # CRFsuite writes no number of features there, and reads none.
    if at == 16:
        return
    put(content, at, value)
    if at == ATTRIBUTES and value in (0, 3):
        with pytest.raises(ValueError, match="numbers that it does not have"):
            labels_of(bytes(content))
        return
    with pytest.raises(ValueError, match="has|is"):
        labels_of(bytes(content))


def test_numbers_in_every_part_are_looked_at(content: bytearray) -> None:
    features, labels = number(content, FEATURES_AT), number(content, LABELS_AT)
    lists, last = number(content, ATTRIBUTE_LISTS_AT), number(content, LABEL_LISTS_AT)
    used, unused = table(content, LABELS_AT, used=True), table(content, LABELS_AT, used=False)
    entries = labels + number(content, used)
    entry = next(
        at for at in range(entries, entries + 8 * number(content, used + 4), 8) if number(content, at + 4)
    )
    record = labels + number(content, entry + 4)
    by_number = labels + number(content, labels + 20)
    changes = {
        features + 8: 2**32 - 1,  # how many features
        features + 12 + 8: 5,  # a label that there is not
        lists + 12: len(content) - 2,  # a list behind the end
        last + 12: 2**32 - 8,
        number(content, lists + 12): 2**31,  # how long a list is
        number(content, lists + 12) + 4: 10**6,  # a feature that there is not
        labels + 8 + 4: 0,  # the order of bytes
        labels + 16: 4,  # names by number
        labels + 20: 0,
        used + 4: 2**30,  # entries of a table
        unused + 4: 7,  # entries of a table that begins nowhere
        entry + 4: len(content),  # a record outside
        record: 5,  # the number of a label that there is not
        record + 4: 2**32 - 1,  # the length of a name
        by_number: 0,  # a label without a name
    }
    for at, value in changes.items():
        damaged = bytearray(content)
        put(damaged, at, value)
        with pytest.raises(ValueError, match="has"):
            labels_of(bytes(damaged))


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1e308])
def test_weights_are_finite(content: bytearray, weight: float) -> None:
    struct.pack_into("<d", content, number(content, FEATURES_AT) + 12 + 12, weight)
    with pytest.raises(ValueError, match="weights"):
        labels_of(bytes(content))


def test_a_table_without_an_empty_entry_would_be_searched_for_ever(content: bytearray) -> None:
    at = table(content, ATTRIBUTES_AT, used=True)
    begin = number(content, ATTRIBUTES_AT) + number(content, at)
    entries = range(begin, begin + 8 * number(content, at + 4), 8)
    full = next(number(content, entry + 4) for entry in entries if number(content, entry + 4))
    for entry in entries:
        put(content, entry + 4, full)
    with pytest.raises(ValueError, match="without an end"):
        labels_of(bytes(content))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_passes_does_not_end_the_process(tagger: Tagger) -> None:
    rng = random.Random(1)
    passed = 0
    for _ in range(150):
        damaged = bytearray(tagger._model)
        for _ in range(rng.choice((1, 2))):
            put(
                damaged,
                rng.randrange(8, len(damaged) - 4),
                rng.choice((0, 1, 2**32 - 1, rng.randrange(2**16))),
            )
        try:
            labels_of(bytes(damaged))
        except ValueError:
            continue
        passed += 1
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            Tagger(bytes(damaged), tagger._lexicon, sorted(tagger._known), tagger.facts).tag(
                ["the", "x", "."]
            )
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert passed > 10


@pytest.mark.parametrize("part", ["model", "words", "facts", "tags"])
def test_a_right_checksum_does_not_make_a_hostile_folder_sound(
    tagger: Tagger, tmp_path: Path, part: str
) -> None:
    folder = tmp_path / "tagger"
    tagger.save(folder)
    saved = json.loads((folder / "tagger.json").read_text())
    model, words = (folder / "model.crfsuite").read_bytes(), (folder / "words.json").read_bytes()
    facts = saved["facts"]
    if part == "model":
        model = model[:48] + bytes(len(model) - 48)
    elif part == "words":
        words = b'{"lexicon": [], "known": 3}'
    elif part == "facts":
        facts = [1]
    else:
        facts = facts | {"tags": ["NN"]}
    whole = (json.dumps(facts, sort_keys=True).encode(), model, words)
    checksum = sha256(b"".join(sha256(one).digest() for one in whole)).hexdigest()
    (folder / "model.crfsuite").write_bytes(model)
    (folder / "words.json").write_bytes(words)
    (folder / "tagger.json").write_text(json.dumps(saved | {"facts": facts, "sha256": checksum}))
    with pytest.raises(SnapshotError, match="no tagger that txray saved") as caught:
        Tagger.load(folder)
    assert "\n" not in str(caught.value)
