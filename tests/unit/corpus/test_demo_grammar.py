"""The grammar behind the embedded corpus: inflection, word lists, grammar lines, topics."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable

import pytest

from txray.corpus.demo import domains, inflection
from txray.corpus.demo.draw import Draw
from txray.corpus.demo.grammar import Compiler
from txray.corpus.demo.lexicon import WordClass, read_word_classes
from txray.corpus.demo.topics import GrammarFile, Topic
from txray.errors import CorpusError

LISTS = """
[animal noun]
fox, mouse (mice), iron/NN ore, deer (deer)
[go verb]
stop, carry, lie, see (saw seen), set up/RP (set set setting)
[size adjective]
large, big, happy, elegant, good (better best)
[fine+ JJ]
great
[fine- JJ]
awful
[place name]
make: Ash, Oak + ford, kham, ham
[one JJ even]
first, second, third, fourth
"""
LITERALS = {
    "the": "DT",
    "a": "DT",
    "an": "DT",
    "I": "PRP",
    "is": "VBZ",
    "and": "CC",
    ".": ".",
    ",": ",",
    "he": "PRP",
}


def classes(text: str = LISTS) -> dict[str, WordClass]:
    return {found.name: found for found in read_word_classes("test.txt", text)}


def drawn(
    line: str, opinion: str = "", rules: dict[str, tuple[str, ...]] | None = None, seed: int = 0
) -> str:
    """One sentence as `word/TAG word/TAG`."""
    (node,) = Compiler("test", rules or {}, classes(), LITERALS, opinion).sentences([line])
    words, tags = Draw(random.Random(seed).random, 1850).sentence(node)
    return " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))


@pytest.mark.parametrize(
    ("rule", "pairs"),
    [
        (inflection.plural, "river rivers, church churches, box boxes, city cities, day days, glass glasses"),
        (inflection.third_person, "flow flows, carry carries, go goes, reach reaches, play plays, fix fixes"),
        (inflection.past, "open opened, move moved, carry carried, stop stopped, play played, visit visited"),
        (inflection.gerund, "open opening, move moving, stop stopping, lie lying, see seeing, dye dyeing, run running"),
        (inflection.comparative, "large larger, big bigger, happy happier, small smaller, dry drier, free freer"),
        (inflection.superlative, "large largest, big biggest, happy happiest, low lowest, simple simplest"),
    ],
)  # fmt: skip
def test_regular_inflection(rule: Callable[[str], str | None], pairs: str) -> None:
    for pair in pairs.split(", "):
        word, form = pair.split()
        assert rule(word) == form


def test_long_adjectives_are_compared_with_more() -> None:
    for word in ("elegant", "well-known", "beautiful", "modern"):
        assert inflection.comparative(word) is None
        assert inflection.superlative(word) is None


def test_articles() -> None:
    with_an = "apple Old hour honest heir umbrella unusual uninspired 8 80 11 18 18th 11,500 island"
    with_a = "river unit university European useful one-off house hotel 1 12 1,800 118 ewe year X"
    assert [word for word in with_an.split() if not inflection.takes_an(word)] == []
    assert [word for word in with_a.split() if inflection.takes_an(word)] == []


class TestWordLists:
    def test_forms_with_their_tags(self) -> None:
        found = classes()
        expected = {
            ("animal", "NN"): ["fox/NN", "mouse/NN", "iron/NN ore/NN", "deer/NN"],
            ("animal", "NNS"): ["foxes/NNS", "mice/NNS", "iron/NN ores/NNS", "deer/NNS"],
            ("go", "VBZ"): ["stops/VBZ", "carries/VBZ", "lies/VBZ", "sees/VBZ", "sets/VBZ up/RP"],
            ("go", "VBD"): ["stopped/VBD", "carried/VBD", "lied/VBD", "saw/VBD", "set/VBD up/RP"],
            ("go", "VBN"): ["stopped/VBN", "carried/VBN", "lied/VBN", "seen/VBN", "set/VBN up/RP"],
            ("go", "VBG"): ["stopping/VBG", "carrying/VBG", "lying/VBG", "seeing/VBG", "setting/VBG up/RP"],
            ("size", "JJR"): ["larger/JJR", "bigger/JJR", "happier/JJR", "more/RBR elegant/JJ", "better/JJR"],
            ("size", "JJS"): [
                "largest/JJS",
                "biggest/JJS",
                "happiest/JJS",
                "most/RBS elegant/JJ",
                "best/JJS",
            ],
            ("fine+", "JJ"): ["great/JJ"],
        }
        for (name, tag), forms in expected.items():
            written = [
                " ".join(map("/".join, zip(*phrase, strict=True))) for phrase in found[name].forms[tag]
            ]
            assert written == forms

    def test_made_names_have_no_doubled_letter_at_the_seam(self) -> None:
        assert set(classes()["place"].lemmas) == {"ashford", "ashkham", "oakford", "oakham"}

    def test_early_words_are_more_frequent_unless_even(self) -> None:
        found = classes()
        assert found["animal"].cumulative[0] == pytest.approx((1 / 3) / (1 / 3 + 1 / 4 + 1 / 5 + 1 / 6))
        assert found["one"].cumulative == pytest.approx((0.25, 0.5, 0.75, 1))

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("[animal]\nfox", "line 1: '\\[animal\\]' is no class"),
            ("[animal noun]\nfox, hare, fox", "twice: fox"),
            ("[animal noun]\n", "is empty"),
            ("[animal noun]\nmouse (mice", "'mouse \\(mice' is no entry"),
        ],
    )
    def test_errors(self, text: str, reason: str) -> None:
        with pytest.raises(CorpusError, match=reason):
            classes(text)


class TestLines:
    def test_words_with_usual_and_given_tags(self) -> None:
        assert drawn("The fox/NN is tired/JJ .") == "The/DT fox/NN is/VBZ tired/JJ ./."
        assert drawn("He/PRP and I read/VBD 12 -LRB- I -RRB- .").endswith(
            "read/VBD 12/CD (/-LRB- I/PRP )/-RRB- ./."
        )

    def test_articles_and_capitals(self) -> None:
        seen = {drawn("a ( old/JJ | new/JJ ) {animal} and a hour/NN", seed=seed) for seed in range(30)}
        assert {text.split()[0] + text.split()[1] for text in seen} == {"An/DTold/JJ", "A/DTnew/JJ"}
        assert all("and/CC an/DT hour/NN" in text for text in seen)

    def test_alternatives_are_all_drawn_and_may_be_empty_or_nested(self) -> None:
        seen = Counter(
            drawn("the ( big/JJ | ( very/RB | quite/RB ) small/JJ | ) fox/NN", seed=s) for s in range(300)
        )
        assert set(seen) == {
            "The/DT big/JJ fox/NN",
            "The/DT very/RB small/JJ fox/NN",
            "The/DT quite/RB small/JJ fox/NN",
            "The/DT fox/NN",
        }
        assert 70 < seen["The/DT big/JJ fox/NN"] < 130

    def test_weights_of_rules(self) -> None:
        rules = {"who": ("3x he", "the fox/NN")}
        seen = Counter(drawn("{who} is", rules=rules, seed=seed).split("/")[0] for seed in range(400))
        assert 260 < seen["He"] < 340

    def test_a_sentence_does_not_use_a_word_twice(self) -> None:
        for seed in range(100):
            words = drawn("{one} , {one} , {one}", seed=seed).lower().split(" ,/, ")
            assert len(set(words)) == 3

    def test_opinions(self) -> None:
        rules = {"say+": ("so/RB {fine} , not/RB {fine!}",), "say-": ("but/CC {fine}",)}
        assert drawn("{say}", "+", rules) == "So/RB great/JJ ,/, not/RB awful/JJ"
        assert drawn("{say}", "-", rules) == "But/CC awful/JJ"
        assert drawn("{say!}", "+", rules) == "But/CC awful/JJ"
        assert drawn("{say!}", "-", rules) == "So/RB great/JJ ,/, not/RB awful/JJ"

    def test_numbers_stay_in_their_bounds(self) -> None:
        whole = {int(drawn("{3..9}", seed=seed).split("/")[0]) for seed in range(500)}
        assert whole == set(range(3, 10))
        steps = {drawn("{900..1100 by 50}", seed=seed).split("/")[0] for seed in range(300)}
        assert steps == {"900", "950", "1,000", "1,050", "1,100"}
        parts = {float(drawn("{1.2..1.5}", seed=seed).split("/")[0]) for seed in range(200)}
        assert parts == {1.2, 1.3, 1.4, 1.5}

    def test_the_clock(self) -> None:
        line = "{year} {year+1..2} {ahead 10..10} {passed 2..2} {year} {decade} {century} {in 1700..1701}"
        texts = [drawn(line, seed=seed) for seed in range(40)]
        for text in texts:
            start, moved, ahead, passed, now, decade, century, fixed = (
                part.split("/")[0] for part in text.split()
            )
            assert start == "1850"
            assert moved in {"1851", "1852"}
            assert int(ahead) == int(moved) + 10
            assert passed == "two"
            assert int(now) == int(moved) + 2
            assert (decade, century) == ("1850s", "19th")
            assert fixed in {"1700", "1701"}
        assert {text.split()[1] for text in texts} == {"1851/CD", "1852/CD"}

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("the wombat", "'wombat' has no tag; write wombat/TAG"),
            ("the {wombat}", "nothing is called {wombat}"),
            ("the {animal:VBD}", "nothing is called {animal:VBD}"),
            ("the ( fox/NN | he", "a bracket stays open"),
            ("the fox/NN ) he", "brackets or bars do not match"),
            ("the fox/NN | he", "brackets or bars do not match"),
            ("{loop}", r"\[rule loop\]': contains itself"),
        ],
    )
    def test_errors(self, line: str, reason: str) -> None:
        with pytest.raises(CorpusError, match=reason):
            drawn(line, rules={"loop": ("the {back}",), "back": ("{loop}",)})


class TestTopics:
    FILE = """
# a remark
weight 2
clock 1800 1810
let name = {place}
let he his = he ; his/PRP$ || she/PRP ; her/PRP$

[section opening 1]
{name} is a {animal} , and {he} is {subject} .
[section facts 2]
Then/RB {he} {go:VBD} the {animal} .
Later/RB {he} {go:VBD} {his} {animal} .
Today/RB {he} is {size} and {name} is {size} .
[section more 0-9]
In/IN {year+1..2} {he} {go:VBD} the {animal} and the {animal} and the {animal} and the {animal} again/RB .

[rule subject]
{size}
"""

    def topic(self, text: str = FILE, common: str = "") -> Topic:
        files = GrammarFile.parse("test.txt", text), GrammarFile.parse("common.txt", common)
        return Topic.compile("test", *files, classes(), LITERALS, "")

    def test_a_document_keeps_its_facts_and_uses_no_sentence_twice(self) -> None:
        for seed in range(50):
            words, tags, starts = self.topic().draw(Draw(random.Random(seed).random, 1800))
            assert len(words) == len(tags) >= 10
            names = {word for word, tag in zip(words, tags, strict=True) if tag == "NNP"}
            assert len(names) == 1
            pronouns = {word.lower() for word, tag in zip(words, tags, strict=True) if tag.startswith("PRP")}
            assert pronouns <= {"he", "his"} or pronouns <= {"she", "her"}
            firsts = [words[start] for start in starts[1:]]
            assert len(set(firsts)) == len(firsts)
            assert len(set(firsts) & {"Then", "Later", "Today"}) == 2

    def test_facts_are_not_drawn_again(self) -> None:
        facts = "let best = {one}\nlet other = {one}"
        topic = self.topic(f"weight 1\nclock 1 2\n{facts}\n[section only 1]\n{{best}} {{other}} {{one}} .")
        for seed in range(40):
            words, _, _ = topic.draw(Draw(random.Random(seed).random, 1))
            assert len({word.lower() for word in words}) == 4

    def test_settings(self) -> None:
        topic = self.topic()
        assert (topic.name, topic.weight, topic.clock) == ("test", 2.0, (1800, 1810))

    def test_documents_grow_to_40_words_and_end_before_200(self) -> None:
        lines = "\n".join(f"the {{animal}} and the {{animal}} {n}/CD ." for n in range(60))
        short = self.topic(f"weight 1\nclock 1 2\n[section only 1]\n{lines}")
        long = self.topic(f"weight 1\nclock 1 2\n[section only 60]\n{lines}")
        for seed in range(20):
            assert 40 <= len(short.draw(Draw(random.Random(seed).random, 1))[0]) < 50
            assert 190 < len(long.draw(Draw(random.Random(seed).random, 1))[0]) <= 200

    def test_a_section_without_lines_takes_the_rule_of_its_name(self) -> None:
        topic = self.topic(
            "weight 1\nclock 1 2\n[section opening 1]\n", common="[rule opening]\nthe fox/NN ."
        )
        assert topic.draw(Draw(random.Random(0).random, 1))[0] == ["The", "fox", "."]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("wait 3", "test.txt, line 1: 'wait 3' is no setting, section or rule"),
            ("weight 1\nclock 1 2\nlet animal = {place}", "'animal' hides a class"),
            ("weight 1\nclock 1 2\nlet he his = he", "gives 1 values to 'he his'"),
            (
                "weight 1\nclock 1 2\nlet it = {animal}\n[section a 1]\n{it:NNS} .",
                "nothing is called {it:NNS}",
            ),
        ],
    )
    def test_errors(self, text: str, reason: str) -> None:
        with pytest.raises(CorpusError, match=reason):
            self.topic(text)


class TestShippedGrammar:
    def test_nothing_in_it_is_unused(self) -> None:
        texts = dict(domains._texts())
        grammar = {
            name: text for name, text in texts.items() if "/" not in name or not name.startswith("words/")
        }
        slots = set(re.findall(r"\{([^}:!]+)", "\n".join(grammar.values())))
        sections = set(re.findall(r"\[section (\S+)", "\n".join(grammar.values())))
        for name, text in texts.items():
            for defined in re.findall(r"^\[(?:rule )?([^\s\]]+)[\] ]", text, re.MULTILINE):
                assert defined == "section" or defined.rstrip("+-") in slots | sections, f"{name}: {defined}"
            for line in re.findall(r"^let (.*?) = ", text, re.MULTILINE):
                assert set(line.split()) <= slots, f"{name}: {line}"
        assert len(slots) > 100

    def test_every_usual_tag_is_used(self) -> None:
        texts = dict(domains._texts())
        lines = "\n".join(text for name, text in texts.items() if not name.startswith(("words/", "literals")))
        written = {word.lower() for word in re.findall(r"[^\s{}()|]+", lines)} | {"an"}
        assert {
            word for word in domains._literals(texts["literals.txt"]) if word.lower() not in written
        } == set()

    def test_two_usual_tags_are_refused(self) -> None:
        with pytest.raises(CorpusError, match="'run' is NN and VB"):
            domains._literals("NN walk run\nVB run")
