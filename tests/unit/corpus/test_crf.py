"""CRFs: tags are those of CRFsuite; of a damaged file, no number leads astray."""

from __future__ import annotations

import json
import random
import struct
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txray import Tagger
from txray.corpus.crf import Crf
from txray.errors import SnapshotError, UsageError

FEATURES_AT, LABELS_AT, ATTRIBUTES_AT, LABEL_LISTS_AT, ATTRIBUTE_LISTS_AT = range(28, 48, 4)
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


@pytest.fixture(scope="module")
def crfsuite(tagger: Tagger) -> Any:
    tagging = pytest.importorskip("pycrfsuite").Tagger()
    tagging.open_inmemory(tagger._model)
    return tagging


@pytest.fixture
def content(tagger: Tagger) -> bytearray:
    return bytearray(tagger._model)


def number(content: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", content, at)[0])


def put(content: bytearray, at: int, value: int) -> None:
    struct.pack_into("<I", content, at, value)


def test_the_labels_of_a_sound_file_are_given(tagger: Tagger, content: bytearray) -> None:
    assert sorted(Crf.read(bytes(content)).labels) == tagger.facts["tags"] == [".", "DT", "NN", "RB", "VB"]


def test_what_was_cut_off_is_noticed_wherever_it_ends(content: bytearray) -> None:
    for length in range(0, len(content), 97):
        whole = content[:length]
        for cut in (whole, whole[:4] + length.to_bytes(4, "little") + whole[8:]):
            with pytest.raises(ValueError, match="has|is"):
                Crf.read(bytes(cut))


@pytest.mark.parametrize("at", range(0, 48, 4))
@pytest.mark.parametrize("value", [0, 3, 2**31 - 1, 2**32 - 1])
def test_no_number_of_the_header_is_believed(content: bytearray, at: int, value: int) -> None:
    # CRFsuite writes no number of features there, and reads none.
    if at == 16:
        return
    put(content, at, value)
    with pytest.raises(ValueError, match="has|is"):
        Crf.read(bytes(content))


def test_numbers_in_every_part_are_looked_at(content: bytearray) -> None:
    features, labels = number(content, FEATURES_AT), number(content, LABELS_AT)
    lists, last = number(content, ATTRIBUTE_LISTS_AT), number(content, LABEL_LISTS_AT)
    by_number = labels + number(content, labels + 20)
    record = labels + number(content, by_number)
    changes = {
        features + 8: 2**32 - 1,  # how many features
        features + 12 + 8: 5,  # a label that does not exist
        lists + 12: len(content) - 2,  # a list behind the end
        last + 12: 2**32 - 8,
        number(content, lists + 12): 2**31,  # how long a list is
        number(content, lists + 12) + 4: 10**6,  # a feature that does not exist
        labels + 8 + 4: 0,  # the order of bytes
        labels + 16: 4,  # how many names by number
        labels + 20: 0,  # where they are
        record: 4,  # the number of another label
        record + 4: 2**32 - 1,  # the length of a name
        by_number: 0,  # a label without a name
        by_number + 4: number(content, by_number),  # a name of another number
    }
    for at, value in changes.items():
        damaged = bytearray(content)
        put(damaged, at, value)
        with pytest.raises(ValueError, match="has"):
            Crf.read(bytes(damaged))


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1e308])
def test_weights_are_finite(content: bytearray, weight: float) -> None:
    struct.pack_into("<d", content, number(content, FEATURES_AT) + 12 + 12, weight)
    with pytest.raises(ValueError, match="weights"):
        Crf.read(bytes(content))


def test_what_is_read_of_a_damaged_file_tags_or_is_refused(tagger: Tagger) -> None:
    rng = random.Random(1)
    passed = 0
    for _ in range(300):
        damaged = bytearray(tagger._model)
        for _ in range(rng.choice((1, 2))):
            put(
                damaged,
                rng.randrange(8, len(damaged) - 4),
                rng.choice((0, 1, 2**32 - 1, rng.randrange(2**16))),
            )
        try:
            crf = Crf.read(bytes(damaged))
        except ValueError:
            continue
        passed += 1
        assert set(crf.tag(tagger._features(["the", "x", "."]))) <= set(crf.labels)
    assert passed > 20


@given(
    st.lists(st.sampled_from(["the", "river", "flows", "fast", ".", "<unk>", "Xx", "a\0b", "é"]), max_size=12)
)
def test_tags_are_those_of_crfsuite(tagger: Tagger, crfsuite: Any, words: list[str]) -> None:
    features = tagger._features(words)
    assert tagger.tag(words) == crfsuite.tag(features)
    assert len(tagger.tag(words)) == len(words)


def test_a_bank_of_a_single_tag_gives_a_model_without_weights_that_is_read(tmp_path: Path) -> None:
    bank = tmp_path / "bank.conllu"
    words = "\n".join(f"{i}\t{word}\t_\tX\tNN\t_\t0\troot\t_\t_" for i, word in enumerate(("a", "b"), 1))
    bank.write_text(f"{words}\n\n" * 3)
    assert Tagger.train(bank, iterations=1).tag(["any", "word"]) == ["NN", "NN"]


def test_among_equal_scores_the_choice_is_that_of_crfsuite(content: bytearray) -> None:
    first = number(content, FEATURES_AT) + 12
    for row in range(number(content, number(content, FEATURES_AT) + 8)):
        struct.pack_into("<d", content, first + 20 * row + 12, 0.0)
    crfsuite = pytest.importorskip("pycrfsuite").Tagger()
    data = bytes(content)  # crfsuite keeps a pointer into it
    crfsuite.open_inmemory(data)
    for length in range(6):
        words = [[b"w=river"]] * length
        assert Crf.read(bytes(content)).tag(words) == crfsuite.tag(words)


def test_a_tagger_works_without_crfsuite_and_training_names_the_extra(
    tagger: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger.save(tmp_path / "tagger")
    monkeypatch.setitem(sys.modules, "pycrfsuite", None)
    assert Tagger.load(tmp_path / "tagger").tag(["the", "river"]) == tagger.tag(["the", "river"])
    bank = tmp_path / "bank.conllu"
    bank.write_text("1\tA\t_\tX\tDT\t_\t0\troot\t_\t_\n\n")
    with pytest.raises(UsageError, match=r"training a tagger needs the extra 'text'.*'txray\[text\]'"):
        Tagger.train(bank)


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
    with pytest.raises(SnapshotError, match="not a tagger that txray saved") as caught:
        Tagger.load(folder)
    assert "\n" not in str(caught.value)
