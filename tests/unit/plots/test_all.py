"""What holds for every figure, whatever the text and however many neurons."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest

from tests.builders.figures import Text, all_figures, caption_of, marks_in, plain_words, strings_in, title_of
from tests.builders.hostile import IN_CORPORA
from txray import plots
from txray.analysis import compare
from txray.plots.text import escape_word, sanitize
from txray.plots.theme import MARKS
from txray.preferences import Preferences

HOSTILE_STAGES = ("<img src=x onerror=alert(1)>", "$a$ & %{y} \u202e" + "z" * 200)
_WITHOUT_AXIS_TITLES = ("states", "length_shift", "length_shift_pos", "gained_table", "knowledge_flow")
OURS = re.compile(r"</?b>|<br>|</?span[^<>&]*>|%{customdata}<extra></extra>")


@pytest.fixture(scope="module")
def ordinary(text: Text) -> dict[str, go.Figure]:
    stages = [text.stage("unsup", seed=0, silent=[0, 1]), text.stage("sup", seed=1, silent=[1, 2])]
    return all_figures(stages, text.tag_of, neuron=7)


@pytest.fixture(scope="module")
def attacked(hostile: Text) -> dict[str, go.Figure]:
    first, second = HOSTILE_STAGES
    return all_figures(
        [hostile.stage(first, seed=0, silent=[3]), hostile.stage(second, seed=1)], hostile.tag_of, neuron=1
    )


def test_no_text_of_a_corpus_or_user_is_markup(attacked: dict[str, go.Figure]) -> None:
    for name, figure in attacked.items():
        content = figure.to_plotly_json()
        content["layout"].pop("template")
        for string in strings_in(content):
            rest = OURS.sub("", string)
            assert not set(rest) & set("<$\n\r\x00\u202e"), (name, string)
            string.encode("utf-8")


def test_no_text_is_a_template(attacked: dict[str, go.Figure]) -> None:
    for name, figure in attacked.items():
        for trace in figure.data:
            for template in ("hovertemplate", "texttemplate"):
                assert getattr(trace, template, None) is None, name


def test_hostile_words_are_shown_as_text(attacked: dict[str, go.Figure]) -> None:
    everything = " ".join(strings_in(attacked["token_frequency"].to_plotly_json())).replace("<br>", " ")
    for word in IN_CORPORA:
        assert escape_word(word).split(" ")[0] in everything, sanitize(word)


def test_titles_state_a_number_and_captions_the_source(ordinary: dict[str, go.Figure]) -> None:
    for name, figure in ordinary.items():
        assert re.search(r"\d", title_of(figure)), name
        for part in ("unsup", "sup", "layer rnn", "selection max-1", "4,000 words", "4 folds"):
            assert part in caption_of(figure).replace("<br>", " "), (name, part)


def test_axes_have_titles(ordinary: dict[str, go.Figure]) -> None:
    for name, figure in ordinary.items():
        axes = [figure.layout[key] for key in figure.layout if re.fullmatch(r"yaxis\d*", key)]
        if name.removesuffix("_tested") not in _WITHOUT_AXIS_TITLES:
            assert axes, name
            assert all(axis.title.text for axis in axes), name


def test_figures_do_not_change_what_they_draw(text: Text) -> None:
    stages = [text.stage("unsup", seed=0), text.stage("sup", seed=1)]
    before = [preferences.table() for pair in stages for preferences in pair]
    first = {name: figure.to_json() for name, figure in all_figures(stages, text.tag_of).items()}
    second = {name: figure.to_json() for name, figure in all_figures(stages, text.tag_of).items()}
    assert first == second
    assert all(a.equals(b) for a, b in zip(before, (p.table() for pair in stages for p in pair), strict=True))


@pytest.mark.parametrize(
    ("words", "n_words", "n_neurons"),
    [(1, 1, 1), (1, 30, 2), (5, 40, 2), (300, 30_000, 1500)],
    ids=["one word", "one feature", "two neurons", "1500 neurons"],
)
def test_any_size_is_drawn_within_the_budget(words: int, n_words: int, n_neurons: int) -> None:
    made_up = Text(plain_words(words), n_words=n_words, n_neurons=n_neurons)
    figures = all_figures([made_up.stage("unsup", seed=0), made_up.stage("sup", seed=1)], made_up.tag_of)
    for name, figure in figures.items():
        assert marks_in(figure) <= MARKS, name
        assert len(figure.to_json()) < 2_000_000, name
        assert figure.data or any(len(note.text) > 30 for note in figure.layout.annotations[:-1]), name


def test_fifty_thousand_features() -> None:
    huge = Text(["x"], n_words=50_000, n_neurons=20)
    huge.words = plain_words(50_000)
    huge.tag_of = dict(zip(huge.words, huge.tags, strict=True))
    huge.rank = np.arange(50_000)
    figures = all_figures([huge.stage("unsup", seed=0), huge.stage("sup", seed=1)], huge.tag_of)
    for name, figure in figures.items():
        assert marks_in(figure) <= 1_000, name
        assert len(figure.to_json()) < 300_000, name


def test_more_neurons_than_marks_are_thinned_and_that_is_said() -> None:
    n = 30_000
    one = np.arange(n)

    def stage(name: str, feature_id: np.ndarray) -> Preferences:
        return Preferences(
            *(name, "mlp", "token", "all", n),
            features=np.array(["a", "b"], dtype=object),
            corpus_counts=np.array([[n, n]]),
            fold=np.zeros(n, np.int64),
            neuron=one,
            feature_id=feature_id,
            count=np.ones(n, np.int64),
            sum=np.full(n, 0.5),
            sum_sq=np.full(n, 0.25),
            max=np.full(n, 0.5),
        )

    comparison = compare(stage("before", one % 2), stage("after", one % 2), permutations=0)
    figure = plots.hellinger_length(comparison)
    assert marks_in(figure) == MARKS
    assert "an even sample of 20,000 neurons is drawn" in caption_of(figure)
    assert figure.data[0].name.endswith("(30,000)")
    assert marks_in(plots.length_shift(comparison)) <= MARKS
    assert marks_in(plots.mass_activation([comparison.before])) <= 2_000


def test_a_layer_without_neurons_is_said_in_words() -> None:
    nothing = np.zeros(0, np.int64)
    empty = Preferences(
        *("s", "rnn", "token", "max-1", 0),
        features=np.array(["a"], dtype=object),
        corpus_counts=np.array([[1]]),
        fold=nothing,
        neuron=nothing,
        feature_id=nothing,
        count=nothing,
        sum=np.zeros(0),
        sum_sq=np.zeros(0),
        max=np.zeros(0),
    )
    comparison = compare(empty, empty, permutations=0)
    for figure in (
        plots.mass_activation([empty]),
        plots.hellinger_length(comparison),
        plots.length_shift(comparison),
        plots.gained_table(comparison),
        plots.states(comparison),
    ):
        assert title_of(figure)
    assert title_of(plots.states(comparison)).startswith("0 of 0 neurons")


def test_importing_txray_loads_no_figures_and_figures_no_torch() -> None:
    code = (
        "import sys, txray; assert not {'plotly', 'txray.plots'} & set(sys.modules), 'txray loads figures';"
        "import txray.plots; assert 'torch' not in sys.modules, 'figures load torch';"
        "assert 'kaleido' not in sys.modules, 'figures load kaleido'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    assert sorted(plots.__all__) == plots.__all__ or set(plots.__all__) == set(dir(plots)) & set(
        plots.__all__
    )
    for name in plots.__all__:
        assert getattr(plots, name).__doc__, name
