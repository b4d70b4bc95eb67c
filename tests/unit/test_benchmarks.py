"""The baselines of the benchmarks do the work that they are said to do: they find what txray finds."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from benchmarks import models, texts
from benchmarks.extraction import extract_sentence_by_sentence
from benchmarks.published import collect_word_by_word
from benchmarks.timing import ratio

from txray import collect
from txray.models import language_model


@pytest.mark.parametrize("outputs", [False, True])
def test_word_by_word_finds_the_same_preferences(outputs: bool, tmp_path: Path) -> None:
    corpus = texts.corpus(300)
    model = language_model("lstm", corpus, embedding=8, hidden=12)
    file = tmp_path / "rows.csv"
    assert collect_word_by_word(model, corpus, file, outputs=outputs) == 300
    wins: Counter[tuple[int, str]] = Counter()
    predicted: Counter[str] = Counter()
    with file.open(encoding="utf-8") as stream:
        for word, _tag, neuron, value, vector, *output in csv.reader(stream):
            activations = [float(number) for number in vector.split(" ")]
            assert (len(activations), max(activations)) == (12, pytest.approx(float(value)))
            if float(value) > 0:
                wins[int(neuron), word.lower()] += 1
            predicted.update(output)
    preferences = collect(model, corpus, name="s").preferences()
    totals = preferences.totals
    names = preferences.features[totals.feature_id].tolist()
    assert dict(wins) == dict(
        zip(zip(totals.neuron.tolist(), names, strict=True), totals.count.tolist(), strict=True)
    )
    assert predicted.total() == (300 if outputs else 0)


def test_extraction_stores_the_activations_of_the_last_pieces(tmp_path: Path) -> None:
    model = replace(models.pretrained(), pooling="last")
    documents = texts.documents(150)
    file = tmp_path / "states.h5"
    assert extract_sentence_by_sentence(model, documents, file) == 150
    with h5py.File(file) as store:
        states = np.concatenate([store[str(number)][()] for number in range(len(store))], axis=1)
    assert states.shape == (7, 150, 384)
    # Sentence by sentence there is less context than in whole documents: the same only for the first layer of all.
    sentence = documents[0].words[: documents[0].sentence_starts[1]]
    alone = collect(
        model,
        texts.corpus(150).take_words(len(sentence)),
        layers=["encoder.layer.5"],
        selection="all",
        name="s",
    )
    expected = np.maximum(states[6, : len(sentence)], 0).sum(axis=0, dtype=np.float64)
    assert alone.preferences(layer="encoder.layer.5").mass() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_ratios_are_those_of_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.accumulate(itertools.cycle([0.0, 2.0, 0.0, 1.0, 0.0, 6.0, 0.0, 2.0]))
    monkeypatch.setattr("benchmarks.timing.time.perf_counter", lambda: next(clock))
    calls = []
    found = ratio(lambda: calls.append("first"), lambda: calls.append("second"), rounds=2)
    assert calls == ["first", "second"] * 3
    assert (found.value, found.low, found.high, found.rounds) == (2.5, 2.0, 3.0, 2)
    assert (found.first, found.second) == (4.0, 1.5)
