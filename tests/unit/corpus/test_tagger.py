"""The tagger: trained, applied, measured, saved, and fed with bad input."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars
import pytest

from tests.unit.corpus.treebanks import write_conllu
from txray.corpus import read_corpus
from txray.corpus.corpus import Corpus
from txray.corpus.demo import demo_corpus
from txray.corpus.document import Document
from txray.corpus.tagger import Tagger
from txray.corpus.tagger_features import FeatureMaker, lexicon_of
from txray.errors import CorpusError, OutputError, SnapshotError, UnknownNameError, UsageError


@pytest.fixture(scope="module")
def treebank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conllu(tmp_path_factory.mktemp("treebank") / "demo.conllu", demo_corpus("reviews", 12_000))


@pytest.fixture(scope="module")
def tagger(treebank: Path) -> Tagger:
    return Tagger.train(treebank, iterations=3)


@pytest.fixture(scope="module")
def held_out() -> Corpus:
    return demo_corpus("reviews", 5_000, split="test")


class TestTraining:
    def test_it_learns_more_than_the_most_frequent_tag_of_each_word(
        self, tagger: Tagger, held_out: Corpus
    ) -> None:
        seen: dict[str, Counter[str]] = {}
        for document in demo_corpus("reviews", 12_000):
            for word, tag in zip(document.words, document.annotations["pos"], strict=True):
                seen.setdefault(word, Counter())[tag] += 1
        gold = [pair for d in held_out for pair in zip(d.words, d.annotations["pos"], strict=True)]
        baseline = sum(word in seen and seen[word].most_common(1)[0][0] == tag for word, tag in gold) / len(
            gold
        )
        accuracy = tagger.evaluate(held_out).accuracy
        assert accuracy > 0.97
        assert 1 - accuracy < 0.5 * (1 - baseline)

    def test_context_decides_between_readings(self, tagger: Tagger) -> None:
        assert tagger.tag(["I", "want", "to", "like", "this", "film", "."])[3] == "VB"
        assert tagger.tag(["The", "snow", "looks", "like", "paper", "."])[3] == "IN"

    def test_same_seed_same_tagger_whatever_ran_before(self, treebank: Path) -> None:
        first = Tagger.train(treebank, iterations=2, seed=4)
        other = Tagger.train(treebank, iterations=2, seed=5)
        again = Tagger.train(treebank, iterations=2, seed=4)
        assert first.fingerprint == again.fingerprint
        assert first.fingerprint != other.fingerprint

    def test_another_column(self, treebank: Path, held_out: Corpus) -> None:
        tagger = Tagger.train(treebank, column="upos", iterations=1)
        assert tagger.column == "upos"
        assert {tag for document in held_out for tag in tagger(document)} <= set("ACDEFIJMNPRTUVW.,:`'-")

    def test_compressed_and_plain_files_give_the_same_tagger(self, treebank: Path, tmp_path: Path) -> None:
        packed = tmp_path / "demo.conllu.gz"
        packed.write_bytes(gzip.compress(treebank.read_bytes()))
        one, other = (Tagger.train(file, iterations=1) for file in (treebank, packed))
        assert one.fingerprint == other.fingerprint
        assert one.facts["corpus_fingerprint"] == other.facts["corpus_fingerprint"]

    def test_the_facts_describe_the_training(self, tagger: Tagger, treebank: Path) -> None:
        corpus = read_corpus("conllu", treebank)
        assert tagger.facts["corpus_fingerprint"] == corpus.fingerprint
        assert tagger.facts["words"] == 12_000
        assert tagger.facts["iterations"] == 3
        assert set(tagger.facts["versions"]) == {"txray", "python-crfsuite"}

    def test_sentences_with_a_missing_tag_are_left_out_and_counted(self, tmp_path: Path) -> None:
        documents = list(demo_corpus("reviews", 600))
        file = write_conllu(tmp_path / "part.conllu", documents)
        lines = file.read_text().splitlines(keepends=True)
        lines[0] = lines[0].replace("\tPRP\t", "\t_\t")
        file.write_text("".join(lines))
        assert "\t_\t0\tdep" in lines[0]
        facts = Tagger.train(file, iterations=1).facts
        sentences = [sentence for document in documents for sentence in document.sentences()]
        assert facts["skipped_sentences"] == 1
        assert facts["sentences"] == len(sentences) - 1
        assert facts["words"] == 600 - len(sentences[0])

    def test_useless_columns_are_refused(self, tmp_path: Path, treebank: Path) -> None:
        rows = "1\tNo\t_\t_\t_\t_\t0\troot\t_\t_\n\n"
        file = tmp_path / "untagged.conllu"
        file.write_text(rows)
        with pytest.raises(CorpusError, match="no sentence has a tag for every word in 'pos'"):
            Tagger.train(file)
        file.write_text(rows.replace("\t_\t_\t_\t_\t0", "\t_\tX\tN N\t_\t0"))
        with pytest.raises(CorpusError, match="'N N' is not a tag"):
            Tagger.train(file)
        with pytest.raises(UnknownNameError, match="unknown annotation 'xpos'"):
            Tagger.train(treebank, column="xpos")
        with pytest.raises(UsageError, match="iterations=0"):
            Tagger.train(treebank, iterations=0)
        with pytest.raises(CorpusError):
            Tagger.train(tmp_path / "missing.conllu")


class TestTagging:
    def test_a_document_is_tagged_sentence_by_sentence(self, tagger: Tagger, held_out: Corpus) -> None:
        for document in held_out:
            expected = [tag for sentence in document.sentences() for tag in tagger.tag(list(sentence))]
            assert list(tagger(document)) == expected

    def test_wikitext_markup_reads_as_the_sign(self, tagger: Tagger) -> None:
        for markup, sign in (("@-@", "-"), ("@,@", ","), ("@.@", ".")):
            written, meant = (["a", "long", form, "film", "."] for form in (markup, sign))
            assert tagger._features(written) == tagger._features(meant)
            assert tagger.tag(written) == tagger.tag(meant)

    def test_a_hidden_word_is_tagged_from_its_context_alone(self, tagger: Tagger, held_out: Corpus) -> None:
        features = tagger._features(["The", "<unk>", "is", "great", "."])
        assert not any(b"unk" in feature for word in features for feature in word)
        known = {word for document in demo_corpus("reviews", 12_000) for word in document.words}
        hidden = Counter[tuple[str, str]]()
        for document in held_out:
            words = tuple(word if word in known else "<unk>" for word in document.words)
            tags = tagger(replace(document, words=words))
            for word, gold, given in zip(words, document.annotations["pos"], tags, strict=True):
                hidden[gold, given] += word == "<unk>"
        right = sum(count for (gold, given), count in hidden.items() if gold == given)
        assert hidden.total() > 200
        assert right / hidden.total() > 0.7

    def test_sentences_without_end_are_tagged_in_pieces(self, tagger: Tagger) -> None:
        words = [word for document in demo_corpus("reviews", 2_500, seed=8) for word in document.words]
        pieces = [tagger.tag(words[start : start + 1000]) for start in (0, 1000, 2000)]
        assert tagger.tag(words) == [tag for piece in pieces for tag in piece]
        assert len(tagger.tag(words * 40)) == 100_000

    @pytest.mark.parametrize(
        "word",
        [
            "",
            " ",
            "\0",
            "a\0b",
            "\ud800",
            "\u200b",
            "\u202e",
            "\n",
            "ÿ" * 1_000_000,
            "|",
            "a:b",
            "=",
            "💥",
            "İ",
        ],
    )
    def test_no_word_is_too_strange(self, tagger: Tagger, word: str) -> None:
        tags = tagger.tag(["The", word, "is", word])
        assert len(tags) == 4
        assert set(tags) <= set(tagger.facts["tags"])

    def test_no_words_no_tags(self, tagger: Tagger) -> None:
        assert tagger.tag([]) == []

    def test_kept_features_do_not_hold_whole_monsters(self, tagger: Tagger) -> None:
        monster = "x" * 10_000
        features = tagger._features([monster, monster + "y"])
        assert max(len(feature) for word in features for feature in word) < 250


class TestFeatures:
    def test_the_lexicon_holds_frequent_words_with_their_frequent_tags(self) -> None:
        sentences = [(("Set", "rare"), ("NN", "JJ"))] * 4 + [(("set",), ("VB",))] * 3
        sentences += [(("film",), ("NN",))] * 99 + [(("film",), ("VB",))]
        assert lexicon_of(sentences) == {"film": "NN", "set": "NN|VB"}

    def test_a_word_sees_two_neighbours_on_each_side_and_no_further(self) -> None:
        make = FeatureMaker({})
        middle = make(["a", "b", "c", "d", "e", "f", "g"])[3]
        assert make(["X", "b", "c", "d", "e", "f", "X"])[3] == middle
        for position in (1, 2, 3, 4, 5):
            words = ["a", "b", "c", "d", "e", "f", "g"]
            words[position] = "other"
            assert make(words)[3] != middle

    def test_every_word_gives_its_form_to_both_sides(self) -> None:
        features = FeatureMaker({"river": "NN"})(["A", "deep", "river", "runs", "South-East"])[2]
        expected = {b"w=river", b"sh=x", b"t=NN", b"s4=iver", b"p2=ri", b"-1l=deep", b"+1l=runs", b"-2l=a"}
        expected |= {b"+2l=south-east", b"-1s=eep", b"+1sh=x", b"<deep|river", b">river|runs", b"+1t=?ns"}
        assert expected <= set(features)

    def test_what_surrounds_a_hidden_word_is_weighed_apart(self) -> None:
        shown, hidden = (FeatureMaker({})(["The", word, "flows"])[1] for word in ("river", "<unk>"))
        assert b"?-1l=the" in hidden
        assert not set(shown) & set(hidden)


class TestEvaluation:
    def test_counts_agree_with_a_plain_loop(self, tagger: Tagger, held_out: Corpus, treebank: Path) -> None:
        known = {line.split("\t")[1] for line in treebank.read_text().splitlines() if line}
        rows = [
            (word, gold, given)
            for document in held_out
            for word, gold, given in zip(
                document.words, document.annotations["pos"], tagger(document), strict=True
            )
        ]
        score = tagger.evaluate(held_out)
        assert score.words == len(rows) == 5_000
        assert score.correct == sum(gold == given for _, gold, given in rows)
        assert score.accuracy == score.correct / 5_000
        unknown = [gold == given for word, gold, given in rows if word not in known]
        assert len(unknown) > 50
        assert score.unknown_accuracy == sum(unknown) / len(unknown)

        table = score.by_tag()
        assert table.columns == ["tag", "words", "correct", "recall", "predicted", "precision"]
        assert table["words"].sum() == 5_000
        assert table["words"].to_list() == sorted(table["words"], reverse=True)
        nouns = table.row(by_predicate=polars.col("tag") == "NN", named=True)
        assert nouns["words"] == sum(gold == "NN" for _, gold, _ in rows)
        assert nouns["predicted"] == sum(given == "NN" for _, _, given in rows)
        assert nouns["precision"] == nouns["correct"] / nouns["predicted"]
        assert nouns["recall"] == nouns["correct"] / nouns["words"]

    def test_words_without_gold_tag_do_not_count(self, tagger: Tagger) -> None:
        document = Document("d", ("The", "film", "."), {"pos": ("DT", "_", ".")})
        score = tagger.evaluate(Corpus.from_documents("c", [document]))
        assert score.words == 2
        assert score.unknown_accuracy is None
        nothing = Document("d", ("film",), {"pos": ("_",)})
        with pytest.raises(CorpusError, match="nothing to compare"):
            tagger.evaluate(Corpus.from_documents("c", [nothing]))

    def test_a_corpus_without_gold_tags_is_refused(self, tagger: Tagger) -> None:
        with pytest.raises(UnknownNameError, match="unknown annotation 'pos'"):
            tagger.evaluate(Corpus.from_documents("c", [Document("d", ("film",))]))


class TestSaving:
    @pytest.fixture
    def saved(self, tagger: Tagger, tmp_path: Path) -> Path:
        tagger.save(tmp_path / "tagger")
        return tmp_path / "tagger"

    def test_a_loaded_tagger_is_the_same(self, tagger: Tagger, saved: Path, held_out: Corpus) -> None:
        loaded = Tagger.load(saved)
        assert loaded.fingerprint == tagger.fingerprint
        assert loaded.facts == tagger.facts
        assert [loaded(document) for document in held_out] == [tagger(document) for document in held_out]
        assert loaded.evaluate(held_out) == tagger.evaluate(held_out)

    def test_saving_again_replaces_it_but_never_a_foreign_folder(
        self, tagger: Tagger, saved: Path, tmp_path: Path
    ) -> None:
        tagger.save(saved)
        assert sorted(file.name for file in saved.iterdir()) == [
            "model.crfsuite",
            "tagger.json",
            "words.json",
        ]
        foreign = tmp_path / "letters"
        foreign.mkdir()
        (foreign / "letter.txt").write_text("mine")
        with pytest.raises(OutputError):
            tagger.save(foreign)
        assert (foreign / "letter.txt").read_text() == "mine"

    @pytest.mark.parametrize("name", ["model.crfsuite", "words.json"])
    def test_one_wrong_byte_anywhere_is_noticed(self, saved: Path, name: str) -> None:
        content = (saved / name).read_bytes()
        for position in range(0, len(content), len(content) // 20):
            damaged = bytearray(content)
            damaged[position] ^= 0x41
            (saved / name).write_bytes(damaged)
            self.assert_refused(saved, "checksum")

    @pytest.mark.parametrize("name", ["model.crfsuite", "words.json", "tagger.json"])
    @pytest.mark.parametrize(
        "content", [b"", b"garbage", b"lCRF" + bytes(60), b"[]", b"[" * 100_000, b"\xff"]
    )
    def test_foreign_files_are_refused(self, saved: Path, name: str, content: bytes) -> None:
        (saved / name).write_bytes(content)
        self.assert_refused(saved, "tagger")

    def test_changed_facts_and_other_versions_are_refused(self, saved: Path) -> None:
        file = saved / "tagger.json"
        written = json.loads(file.read_text())
        file.write_text(json.dumps(written | {"facts": written["facts"] | {"column": "upos"}}))
        self.assert_refused(saved, "checksum")
        file.write_text(json.dumps(written | {"features": 0}))
        self.assert_refused(saved, "version")

    @pytest.mark.parametrize("name", ["model.crfsuite", "words.json", "tagger.json"])
    def test_missing_parts_are_named(self, saved: Path, name: str) -> None:
        (saved / name).unlink()
        self.assert_refused(saved, "no tagger can be read")

    def test_a_file_instead_of_a_folder(self, tmp_path: Path) -> None:
        file = tmp_path / "model"
        file.write_bytes(b"x")
        self.assert_refused(file, "no tagger can be read")

    @staticmethod
    def assert_refused(folder: Path, reason: str) -> None:
        with pytest.raises(SnapshotError, match=reason) as caught:
            Tagger.load(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_importing_the_module_imports_no_large_library() -> None:
    script = (
        "import sys, txray.corpus.tagger; print(sorted({'pycrfsuite', 'polars', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.data
class TestEnglishWebTreebank:
    @pytest.fixture(scope="class")
    @staticmethod
    def trained(data_folder: Path) -> Tagger:
        return Tagger.train(data_folder / "ud-ewt" / "en_ewt-ud-train.conllu.gz")

    def test_at_least_94_percent_on_gold_tokens(self, trained: Tagger, data_folder: Path) -> None:
        score = trained.evaluate(read_corpus("conllu", data_folder / "ud-ewt" / "en_ewt-ud-test.conllu.gz"))
        assert score.words == 25_094
        assert score.accuracy >= 0.94
        assert score.unknown_accuracy is not None
        assert score.unknown_accuracy >= 0.75

    def test_it_mostly_agrees_with_the_gold_tags_of_the_demo(self, trained: Tagger) -> None:
        """A second opinion on the embedded corpus; the treebank writes the preposition `to` as IN."""
        for domain in ("encyclopedia", "reviews"):
            pairs = [
                (gold.replace("TO", "IN"), given.replace("TO", "IN"))
                for document in demo_corpus(domain, 10_000, seed=2)
                for gold, given in zip(document.annotations["pos"], trained(document), strict=True)
            ]
            assert sum(gold == given for gold, given in pairs) / len(pairs) > 0.93, domain


def test_no_room_for_temporary_files_is_told(treebank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(
        "txray.corpus.tagger_training.shutil.disk_usage", lambda _: usage._replace(free=1 << 20)
    )
    with pytest.raises(OutputError, match="needs 128 MiB for temporary files; free some, or set TMPDIR"):
        Tagger.train(treebank, iterations=1)


def test_a_model_that_was_not_written_whole_is_told(treebank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: read(self)[:-9] if self.suffix == ".crfsuite" else read(self)
    )
    with pytest.raises(OutputError, match="could not be written as a whole"):
        Tagger.train(treebank, iterations=1)
