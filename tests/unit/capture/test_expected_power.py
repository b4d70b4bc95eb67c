"""Before a pass: how many words a neuron will get, and whether that shows any change."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from txray.capture import Selection, collect
from txray.capture.expected_power import TextSize, expected_wins, recommended
from txray.capture.layers import hook_points_for
from txray.capture.model_adapter import adapter_for
from txray.corpus import Corpus, Document
from txray.errors import PowerWarning
from txray.models import TextModel
from txray.progress import progress

LINEAR = "encoder.layers.0.linear1"
NEURONS = 300


class Wide(nn.Module):
    """Many neurons with a normally distributed activation at each word."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5_000, NEURONS)
        self.neurons = nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        return self.neurons(self.embedding(ids))  # type: ignore[no-any-return]


def wide_model() -> TextModel:
    """Return a model that knows the words w0 to w4999."""
    torch.manual_seed(0)
    return TextModel(Wide(), lambda words: [int(word[1:]) for word in words])


def text(words: int, length: int = 40) -> Corpus:
    """Return random words in documents of this length."""
    random = np.random.default_rng(0)
    drawn = [f"w{number}" for number in random.integers(5_000, size=words)]
    starts = range(0, words, length)
    return Corpus.from_documents(
        "words", [Document(f"d{start}", tuple(drawn[start : start + length])) for start in starts]
    )


@pytest.mark.parametrize(
    "rule",
    [
        "max-1",
        "max-5",
        "all/zscore",
        "all/negative/zscore",
        "threshold=1.5/zscore",
        "threshold=2/absolute/zscore",
    ],
)
@pytest.mark.filterwarnings("ignore::txray.errors.PowerWarning")
def test_wins_are_as_many_as_expected(rule: str) -> None:
    model, corpus, selection = wide_model(), text(2_000), Selection.parse(rule)
    (hook_point,) = hook_points_for(adapter_for(model, outputs=False), ["neurons"], selection)
    stage = collect(model, corpus, layers="neurons", selection=selection, name="s")
    expected = expected_wins(hook_point, selection, TextSize.of(corpus))
    assert stage.preferences().wins().mean() == pytest.approx(expected, rel=0.05)


def test_wins_of_unknown_activations_are_not_guessed() -> None:
    model = wide_model()
    (hook_point,) = hook_points_for(adapter_for(model, outputs=False), ["neurons"], Selection("all"))
    size = TextSize(1_000, 10)
    assert expected_wins(hook_point, Selection("all"), size) is None
    assert expected_wins(hook_point, Selection("threshold=2"), size) is None
    assert expected_wins(hook_point, Selection("max-position"), size) == 10
    assert expected_wins(hook_point, Selection("max-1000"), size) == 1_000


def test_a_layer_with_few_words_per_neuron_is_warned_of_before_the_model_runs() -> None:
    model, runs = wide_model(), []
    with pytest.warns(PowerWarning) as caught:
        collect(model, text(2_000), layers="neurons", name="s")
    (message,) = [str(warning.message) for warning in caught if warning.category is PowerWarning]
    for part in (
        "'neurons'",
        "'max-1'",
        "300 neurons",
        "7 of 2,000 words",
        "'threshold=1/zscore' (317 words",
        "'all/zscore' (1,000",
    ):
        assert part in message
    assert "\n" not in message
    model.module.register_forward_pre_hook(lambda module, arguments: runs.append(arguments[0].numel()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", PowerWarning)
        with pytest.raises(PowerWarning):
            collect(model, text(2_000), layers="neurons", name="s")
    assert sum(runs) < 500, "only the dry run may come first"


@pytest.mark.parametrize("selection", ["max-100", "threshold=1/zscore", "all/zscore", "all"])
def test_selections_with_enough_words_are_not_warned_of(selection: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", PowerWarning)
        collect(wide_model(), text(2_000), layers="neurons", selection=selection, name="s")


def test_recurrent_models_and_texts_without_folds_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", PowerWarning)
        collect(small_model(), corpus_of(documents(5)), name="s")
        collect(wide_model(), text(2_000, length=1_000), layers="neurons", name="s")  # no selection helps


def test_one_line_for_many_layers() -> None:
    with pytest.warns(PowerWarning, match=r"and 1 more of its layers") as caught:
        collect(
            transformer(), corpus_of(documents(40)), layers=[LINEAR, "encoder.layers.1.linear1"], name="s"
        )
    assert sum(warning.category is PowerWarning for warning in caught) == 1


def test_a_long_text_is_counted_only_in_part() -> None:
    read = 0

    def endless(skipped: Any) -> Iterator[Document]:
        nonlocal read
        while True:
            read += 1
            yield Document(f"d{read}", ("w",) * 100)

    size = TextSize.of(Corpus("endless", endless, fingerprint=lambda: "endless"), max_words=1_000)
    assert (size.words, size.documents, size.complete, read) == (1_000, 10, False, 10)


def test_the_recommended_threshold_rises_with_the_text() -> None:
    chosen = [str(recommended(words)) for words in (10, 2_000, 7_000, 30_000, 100_000, 10**6)]
    thresholds = ["1", "1", "1.5", "2", "2.5", "3"]
    assert chosen == [f"threshold={threshold}/zscore" for threshold in thresholds]


@pytest.mark.filterwarnings("ignore::txray.errors.PowerWarning")
def test_the_progress_bar_says_how_many_words_a_neuron_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptions = []

    def recorded(description: str, total: int | None = None) -> Any:
        descriptions.append(description)
        return progress(description, total)

    monkeypatch.setattr("txray.capture.loop.progress", recorded)
    for selection in ("max-50", "max-1", "threshold=1/zscore", "all"):
        collect(wide_model(), text(2_000), layers="neurons", selection=selection, name="s")
    shown = [description for description in descriptions if description.startswith("collecting")]
    assert "333 words per neuron show changes from 0.22" in shown[0]
    assert "7 words per neuron show no change" in shown[1]
    assert "tallies up to" in shown[2]
    assert "317 words per neuron" in shown[2]
    assert "words per neuron" not in shown[3]
