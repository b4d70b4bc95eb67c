"""The report as a file: what it holds, what it refuses, and what it never does."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import txray
from tests.builders.stages import stage_of, story, vocabulary
from txray.analysis import compare
from txray.errors import OutputError, ShapeError, UnknownNameError, UsageError
from txray.preferences import Preferences, Stage
from txray.web.report import Section

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Outline(HTMLParser):
    """Tags, ids, links and headings of a page; fails where elements are not nested properly."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action", "data", "poster", "srcset"):
                self.addresses.append(value or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.headings and any(re.fullmatch("h[1-6]", tag) for tag in self._open):
            tag, text = self.headings[-1]
            self.headings[-1] = (tag, text + data)


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return story()


@pytest.fixture(scope="module")
def page(stages: list[Stage], tmp_path_factory: pytest.TempPathFactory) -> str:
    file = txray.report(stages, tmp_path_factory.mktemp("report") / "report.html", title="A story")
    return file.read_text(encoding="utf-8")


def test_returns_the_path_and_makes_its_folder(stages: list[Stage], tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.html"
    assert txray.report(stages[:2], str(target)) == target
    assert target.is_file()
    assert [file.name for file in target.parent.iterdir()] == ["report.html"]


def test_tells_the_story_in_order(page: str) -> None:
    outline = Outline(page)
    assert [text for tag, text in outline.headings if tag == "h2"] == [
        "In short",
        "epoch-01 → epoch-48",
        "epoch-48 → zero-shot",
        "zero-shot → sup",
        "Overview",
        "Every neuron",
        "Where the numbers come from",
    ]
    assert [text for tag, text in outline.headings if tag == "h1"] == ["A story"]
    levels = [int(tag[1]) for tag, _ in outline.headings]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_changes_are_tested_unless_nobody_wants_that(stages: list[Stage], tmp_path: Path) -> None:
    tested, plain = (
        txray.report(stages[:2], tmp_path / f"{number}.html", permutations=number).read_text(encoding="utf-8")
        for number in (200, 0)
    )
    assert "changed significantly (5% FDR, text-matched)" in tested
    assert "(5% FDR" not in plain
    assert "Observed, not tested" in plain
    one_fold = [
        replace(stage, collected={key: one_folded(side) for key, side in stage.collected.items()})
        for stage in stages[:2]
    ]
    untestable = txray.report(one_fold, tmp_path / "fold.html").read_text(encoding="utf-8")
    assert "(5% FDR" not in untestable
    assert "Observed, not tested" in untestable


def one_folded(preferences: Preferences) -> Preferences:
    """The rows of the first fold, as if there were no other."""
    mine = preferences.fold == 0
    columns = ("fold", "neuron", "feature_id", "count", "sum", "sum_sq", "max")
    return replace(
        preferences,
        corpus_counts=preferences.corpus_counts[:1],
        **{name: getattr(preferences, name)[mine] for name in columns},
    )


def test_given_sections_replace_the_default_ones_and_keep_their_order(
    stages: list[Stage], tmp_path: Path
) -> None:
    sections = [
        Section("Pretraining", "First."),
        Section("Zero-shot: elsewhere", "Then."),
        Section("Supervised", "Last."),
    ]
    file = txray.report(stages, tmp_path / "report.html", sections=sections)
    page = file.read_text(encoding="utf-8")
    headings = [text for tag, text in Outline(page).headings if tag == "h2"]
    assert headings[:5] == ["In short", "Pretraining", "Zero-shot: elsewhere", "Supervised", "Overview"]
    assert '<a href="#section-1">Zero-shot</a>' in page


def test_navigation_leads_to_every_section_once(page: str) -> None:
    outline = Outline(page)
    targets = [address[1:] for address in outline.addresses]
    assert len(set(outline.ids)) == len(outline.ids)
    assert set(targets) <= set(outline.ids)
    assert len(targets) == 8


def test_points_at_nothing_outside_itself(page: str) -> None:
    outline = Outline(page)
    assert {address[0] for address in outline.addresses} == {"#"}
    assert not {"link", "iframe", "object", "embed", "base", "img"} & set(outline.tags)
    assert "@import" not in page
    assert "url(" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_has_no_inline_handlers(page: str) -> None:
    assert [name for name, _ in Outline(page).attributes if name.startswith("on")] == []


def test_same_stages_same_bytes(stages: list[Stage], tmp_path: Path) -> None:
    first, second = (txray.report(stages, tmp_path / name) for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


def test_names_and_texts_are_only_text(tmp_path: Path) -> None:
    words = vocabulary(30)
    evil = "<script>alert(1)</script>"
    stages = [stage_of(evil, words, seed=1), stage_of("$css ${script}", words, seed=2)]
    file = txray.report(
        stages,
        tmp_path / "report.html",
        title=f"{evil} \ud800 & $policy",
        sections=[Section(evil, f"{evil} $title")],
    )
    page = file.read_text(encoding="utf-8")
    outline = Outline(page)
    assert outline.tags.count("script") == 4
    assert evil not in page
    assert "&amp; $policy" in page
    assert "$css ${script}" in page


def test_comparisons_can_be_chosen(stages: list[Stage], tmp_path: Path) -> None:
    file = txray.report(
        stages, tmp_path / "r.html", comparisons=[compare(stages[0], stages[3], permutations=0)]
    )
    headings = [text for tag, text in Outline(file.read_text(encoding="utf-8")).headings if tag == "h2"]
    assert headings[1:3] == ["epoch-01 → sup", "Overview"]


def test_tags_can_be_the_feature(stages: list[Stage], tmp_path: Path) -> None:
    page = txray.report(stages[:2], tmp_path / "r.html", feature_type="pos").read_text(encoding="utf-8")
    assert "neuron number or preferred POS tag" in page


def test_refuses_one_stage(stages: list[Stage], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least two") as error:
        txray.report(stages[:1], tmp_path / "r.html")
    assert "epoch-01" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_refuses_two_stages_of_one_name(stages: list[Stage], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'sup'"):
        txray.report([stages[3], stages[3]], tmp_path / "r.html")


def test_refuses_a_comparison_of_a_stage_it_is_not_given(stages: list[Stage], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'sup'"):
        txray.report(
            stages[:2], tmp_path / "r.html", comparisons=[compare(stages[0], stages[3], permutations=0)]
        )


def test_refuses_mixed_kinds(stages: list[Stage], tmp_path: Path) -> None:
    pairs = [compare(stages[0], stages[1], feature_type=kind, permutations=0) for kind in ("token", "pos")]
    with pytest.raises(ShapeError, match=r"token.*pos"):
        txray.report(stages[:2], tmp_path / "r.html", comparisons=pairs)


def test_refuses_an_unknown_feature(stages: list[Stage], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="morph"):
        txray.report(stages[:2], tmp_path / "r.html", feature_type="morph")


def test_leaves_the_old_page_when_the_new_one_fails(stages: list[Stage], tmp_path: Path) -> None:
    target = tmp_path / "folder.html"
    target.mkdir()
    with pytest.raises(OutputError, match="folder.html"):
        txray.report(stages[:2], target)
    assert [file.name for file in tmp_path.iterdir()] == ["folder.html"]


def test_txray_report_is_the_function_in_every_order_of_imports() -> None:
    orders = (
        "import txray",
        "import txray.web.report, txray",
        "import txray.web.report.page, txray",
        "import txray; txray.report; import txray.web.report.sections",
        "from txray import report; import txray, txray.web.report",
        "import txray.cli.main, txray",
        "import txray.cli.report, txray",
    )
    code = f"""
import sys
from types import FunctionType
for order in {orders}:
    exec(order)
    if type(txray.report) is not FunctionType:
        print(order)
    # What txray needs stays, and txray itself is imported anew.
    for name in [name for name in sys.modules if name.partition(".")[0] == "txray"]:
        del sys.modules[name]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "", "orders of imports in which it is something else"


def test_folders_are_accepted_like_stages(tmp_path: Path) -> None:
    stages = story()[:2]
    for stage in stages:
        stage.save(tmp_path / "stages" / stage.name)
    pages = [
        txray.report(subject, tmp_path / f"{number}.html", permutations=0).read_text()
        for number, subject in enumerate(
            (stages, [tmp_path / "stages" / stage.name for stage in stages], tmp_path / "stages")
        )
    ]
    assert pages[0] == pages[1]
    assert all(stage.name in pages[2] for stage in stages)


def test_layers_are_chosen_by_pattern(tmp_path: Path) -> None:
    words = vocabulary(30)
    stages = []
    for number, name in enumerate("ab"):
        parts = [stage_of(name, words, layer=layer, seed=number) for layer in ("low", "high")]
        collected = {key: value for part in parts for key, value in part.collected.items()}
        stages.append(replace(parts[0], collected=collected))
    page = txray.report(stages, tmp_path / "r.html", layer="h*", permutations=0).read_text()
    assert re.findall(r"<small>layer (\w+)</small>", page) == ["high"]
    with pytest.raises(UnknownNameError, match="low, high"):
        txray.report(stages, tmp_path / "r.html", layer="middle", permutations=0)


def test_the_rate_decides_what_is_significant(tmp_path: Path) -> None:
    page = txray.report(story()[:2], tmp_path / "r.html", permutations=50, fdr=0.2, seed=3).read_text()
    assert "20%" in page
    assert "5% FDR" not in page


@pytest.mark.parametrize("name", ["r.pdf", "report", "r.html.gz"])
def test_what_is_no_html_file_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(name)):
        txray.report([tmp_path / "nowhere", tmp_path / "else"], tmp_path / name)
