"""Which fold the words of a document are counted in, and what the manifest says of documents that belong together."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.builders.texts import corpus_of, documents, small_model
from tests.unit.capture.test_collect import same_preferences
from txray import compare, synthetic_pair
from txray.capture import collect
from txray.corpus import Corpus, Document
from txray.errors import DominanceWarning, DuplicateWarning, PowerWarning, StageError
from txray.preferences import Stage, merge_folders, merge_stages

pytestmark = pytest.mark.filterwarnings("ignore::txray.errors.DuplicateWarning")


def fold_by_hand(text: str, purpose: bytes, folds: int = 16) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=purpose).digest()
    return (int.from_bytes(digest, "little") >> 1) % folds


def words_of_folds(stage: Stage) -> list[int]:
    """(folds,) words of the corpus that were counted in each."""
    return stage.preferences(layer=stage.layers[0]).corpus_counts.sum(axis=1).tolist()


def expected_words(sources: list[Document]) -> list[int]:
    counts: Counter[int] = Counter()
    for document in sources:
        group = document.group
        fold = (
            fold_by_hand("\0".join(document.words), b"words")
            if group is None
            else fold_by_hand(group, b"group")
        )
        counts[fold] += len(document.words)
    return [counts[fold] for fold in range(16)]


def in_groups(sources: list[Document], of: int) -> list[Document]:
    """Every third document stays on its own."""
    return [
        document if i % 3 == 0 else replace(document, group=f"book {i // of}")
        for i, document in enumerate(sources)
    ]


@pytest.mark.parametrize("selection", ["max-1", "all", "max-position"])
def test_documents_are_counted_in_the_fold_of_their_group_or_words(selection: str) -> None:
    sources = in_groups(documents(60), 5)
    stage = collect(small_model(), corpus_of(sources), selection=selection, name="s")
    assert words_of_folds(stage) == expected_words(sources)
    preferences = stage.preferences(layer="rnn")
    assert set(preferences.fold.tolist()) <= {fold for fold, n in enumerate(words_of_folds(stage)) if n}


def test_a_document_that_is_cut_stays_in_its_fold() -> None:
    sources = [Document(f"d{i}", tuple(f"w{i}" for _ in range(20))) for i in range(8)]
    for words in (1, 7, 20, 29, 155):
        stage = collect(small_model(), corpus_of(sources), name="s", max_words=words)
        parts = zip(words_of_folds(stage), expected_words(sources), strict=True)
        assert all(part <= whole for part, whole in parts)
        assert sum(words_of_folds(stage)) == words


def test_the_order_of_documents_and_copies_leave_no_trace() -> None:
    sources = in_groups(documents(40), 4)
    sources += [replace(document, id=f"{document.id}/copy") for document in sources[:7]]
    model = small_model()
    one, other = (
        collect(model, corpus_of(order), name="s", batch_positions=n)
        for order, n in ((sources, 400), (sources[::-1], 16_384))
    )
    same_preferences(one, other, atol=1e-5)
    assert words_of_folds(one) == words_of_folds(other)
    keys = ("groups", "documents_without_group", "documents_repeated", "words_repeated")
    assert [one.manifest["corpus"][key] for key in keys] == [other.manifest["corpus"][key] for key in keys]
    assert one.manifest["corpus"]["documents_repeated"] == 7
    assert one.manifest["corpus"]["words_repeated"] == sum(len(document.words) for document in sources[:7])
    assert one.documents.equals(other.documents)


def test_shards_agree_on_folds_and_count_copies_across_them(tmp_path: Path) -> None:
    sources = in_groups(documents(40), 4)
    sources += [replace(document, id=f"{document.id}/copy") for document in sources[:7]]
    corpus, model = corpus_of(sources), small_model()
    whole = collect(model, corpus, name="s")
    shards = [collect(model, corpus.shard(number, 3), name="s") for number in range(1, 4)]
    assert sum(shard.manifest["corpus"]["documents_repeated"] for shard in shards) < 7
    merged = merge_stages([merge_stages(shards[2:]), *shards[:2]])
    same_preferences(whole, merged, atol=1e-5)
    assert merged.manifest == whole.manifest
    assert merged.documents.equals(whole.documents)
    folder = merge_folders(
        [shard.save(tmp_path / str(i)) for i, shard in enumerate(shards)], tmp_path / "merged"
    )
    loaded = Stage.load(folder)
    assert loaded.documents.equals(whole.documents)
    assert loaded.manifest["corpus"] == whole.manifest["corpus"]
    assert loaded.manifest["warnings"] == whole.manifest["warnings"]
    assert any("repeat the words of another" in line for line in whole.manifest["warnings"])


def test_a_folder_whose_folds_were_drawn_otherwise_is_refused(tmp_path: Path) -> None:
    folder = collect(small_model(), corpus_of(documents(5)), name="s").save(tmp_path / "s")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    with pytest.raises(StageError, match="format 1, txray reads format 2"):
        Stage.load(folder)


def test_a_folder_without_the_table_of_documents_is_refused(tmp_path: Path) -> None:
    folder = collect(small_model(), corpus_of(documents(5)), name="s").save(tmp_path / "s")
    (folder / "documents.parquet").unlink()
    with pytest.raises(StageError, match="documents.parquet"):
        Stage.load(folder)


class Stopped(Exception):  # noqa: N818
    pass


def test_an_interrupted_collection_goes_on_to_the_same_counts(tmp_path: Path) -> None:
    sources = in_groups(documents(40), 4) + [
        replace(document, id=f"copy {document.id}") for document in documents(5)
    ]
    model = small_model()
    asked = {"name": "s", "batch_positions": 100, "checkpoint": tmp_path / "s", "checkpoint_seconds": 0.0}
    whole = collect(model, corpus_of(sources), name="s", batch_positions=100)

    stopping = [True]

    def reading(skipped: Counter[str]) -> Iterator[Document]:
        for i, document in enumerate(sources):
            if i == 30 and stopping:
                raise Stopped
            yield document

    corpus = Corpus("test", reading, fingerprint=lambda: corpus_of(sources).fingerprint)
    with pytest.raises(Stopped):
        collect(model, corpus, **asked)  # type: ignore[arg-type]
    stopping.clear()
    resumed = collect(model, corpus, **asked)  # type: ignore[arg-type]
    assert resumed.documents.equals(whole.documents)
    assert resumed.manifest["corpus"] == whole.manifest["corpus"]
    same_preferences(whole, resumed)


def test_repeated_documents_are_warned_of_and_dominance_apart() -> None:
    sources = documents(30)
    copies = [*sources, replace(sources[0], id="copy")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stage = collect(small_model(), corpus_of(copies), layers=["embedding"], name="s")
    categories = {str(warning.message): warning.category for warning in caught}
    (line,) = [line for line in stage.manifest["warnings"] if "repeat" in line]
    assert categories[line] is DuplicateWarning
    assert all(categories[other] is DominanceWarning for other in stage.manifest["warnings"] if other != line)
    assert "1 of 31 documents" in line
    assert not [
        one
        for one in collect(small_model(), corpus_of(sources), name="s").manifest["warnings"]
        if "repeat" in one
    ]


def test_other_groups_are_other_documents_for_pairing() -> None:
    sources = documents(20)
    model = small_model()
    plain, grouped = (
        collect(model, corpus_of(source), name="s") for source in (sources, in_groups(sources, 2))
    )
    assert compare(plain, plain, permutations=0).same_documents
    assert compare(plain, grouped, permutations=0).same_documents is False


def test_fewer_groups_than_folds_are_warned_of() -> None:
    sources = [replace(document, group=f"book {i % 3}") for i, document in enumerate(documents(60))]
    model = small_model()
    few = [collect(model, corpus_of(half), name="s") for half in (sources[:30], sources[30:])]
    assert few[0].manifest["corpus"]["groups"] == 3
    with pytest.warns(PowerWarning, match=r"no p-value can be below 0\.[1-9]"):
        compare(*few, permutations=200)


def false_positives(units: list[list[Document]], seed: int) -> tuple[float, float]:
    """Share of p < 0.05 among neurons that did not change, with a fold for each id and with those of collect."""
    text = corpus_of([document for unit in units for document in unit])
    model = synthetic_pair(60, corpus=text, changed=0, vanished=0, appeared=0, rarer=0, seed=seed).before
    shares = []
    for by_id in (True, False):
        halves = [
            corpus_of(
                [replace(one, group=one.id) if by_id else one for unit in units[start::2] for one in unit]
            )
            for start in (0, 1)
        ]
        before, after = (collect(model, half, layers=["neurons"], name="half") for half in halves)
        # Distances depend on how words cluster; the default statistic only on wins given the words.
        tested = compare(before, after, permutations=0).test(
            permutations=400, draws=3, statistic="distance", text_matched=False
        )
        shares.append(float((tested.neurons["p_value"].drop_nulls() < 0.05).mean()))  # type: ignore[arg-type]
    return shares[0], shares[1]


VOCABULARY = np.array([f"v{i}" for i in range(300)])


def test_copies_of_documents_cause_no_false_positives() -> None:
    random = np.random.default_rng(77)
    texts = [tuple(random.choice(VOCABULARY, 80).tolist()) for _ in range(64)]
    units = [[Document(f"{unit}/{copy}", text) for copy in range(4)] for unit, text in enumerate(texts)]
    by_id, by_words = false_positives(units, 1)
    assert by_id > 0.5
    assert by_words < 0.15


def test_chapters_of_books_cause_no_false_positives() -> None:
    random = np.random.default_rng(77)
    units = []
    for book in range(64):
        weight = np.exp(4 * random.standard_normal(300))
        chapters = random.choice(VOCABULARY, (4, 80), p=weight / weight.sum())
        units.append(
            [
                Document(f"{book}/{i}", tuple(words), group=f"{book}")
                for i, words in enumerate(chapters.tolist())
            ]
        )
    by_id, by_group = false_positives(units, 2)
    assert by_id > 0.3
    assert by_group < 0.15
