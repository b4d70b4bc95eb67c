"""Measurements of the performance page, one function per row."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from benchmarks import models, texts
from benchmarks.bare import BareForward
from benchmarks.extraction import extract_sentence_by_sentence
from benchmarks.published import (
    Means,
    collect_word_by_word,
    hellinger_by_loops,
    means_by_groups,
    means_word_by_word,
)
from benchmarks.timing import Ratio, ratio
from txray import Corpus, Mask, Stage, collect, compare, masked
from txray.models import RecurrentLanguageModel, TextModel, classifier
from txray.preferences import ExemplarTally, Tally
from txray.pruning import ActivationStats, evaluator
from txray.pruning.choices import Ablation

KINDS = ["token", "pos"]


@dataclass(frozen=True)
class Result:
    """One row of the page.

    Attributes:
        what: was measured.
        target: as a ratio, in words.
        measured: the ratio, with its spread.
        detail: sizes, seconds, words per second.
    """

    what: str
    target: str
    measured: str
    detail: str


def _overhead(
    what: str,
    target: str,
    model: RecurrentLanguageModel | TextModel,
    layers: list[str],
    words: int,
    *,
    selection: str = "max-1",
    batch_positions: int = 4_096,
) -> Result:
    documents = texts.documents(words)
    bare = BareForward(model, documents, batch_positions)

    def collecting() -> None:
        collect(
            model,
            texts.corpus(words),
            layers=layers,
            feature_types=KINDS,
            selection=selection,
            name="s",
            batch_positions=batch_positions,
        )

    times = ratio(collecting, bare)
    return Result(
        what,
        target,
        f"{times.value:.2f} x ({times.low:.2f} to {times.high:.2f})",
        f"{words:,} words; {words / times.first:,.0f} words/s collecting, {words / times.second:,.0f} bare",
    )


def lstm_max_1() -> Result:
    """A large recurrent layer."""
    return _overhead(
        "LSTM of 1500 units, `max-1`, tokens and tags", "at most 1.10 x", models.lstm(1500), ["rnn"], 40_000
    )


def encoder_max_1() -> Result:
    """One MLP layer of an encoder."""
    layers = ["encoder.layer.6.intermediate"]
    return _overhead(
        "encoder of BERT's size, `max-1`, tokens and tags", "at most 1.10 x", models.encoder(), layers, 5_000
    )


def encoder_input() -> Result:
    """The neurons of one MLP layer, read as the input of its last projection."""
    layers = ["encoder.layer.6.output.dense:input"]
    return _overhead(
        "the same neurons as an input, `max-1`", "at most 1.10 x", models.encoder(), layers, 5_000
    )


def encoder_all() -> Result:
    """Every neuron of one MLP layer."""
    layers = ["encoder.layer.6.intermediate"]
    return _overhead(
        "its MLP layer of 3072 units, `all`",
        "at most 1.25 x",
        models.encoder(),
        layers,
        5_000,
        selection="all",
    )


def many_layers() -> Result:
    """All MLP layers and all block outputs."""
    layers = ["encoder.layer.*.intermediate", "encoder.layer.*.output"]
    return _overhead("24 of its layers at once, `max-1`", "-", models.encoder(), layers, 5_000)


def _published(hidden: int, target: str, *, outputs: bool, theirs: int = 600, ours: int = 100_000) -> Result:
    model = models.lstm(hidden)
    kinds = [*KINDS, "output"] if outputs else KINDS
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        times = ratio(
            lambda: collect_word_by_word(model, texts.documents(theirs), file, outputs=outputs),
            lambda: collect(model, texts.corpus(ours), feature_types=kinds, name="s"),
            rounds=3,
        )
    return Result(
        f"word by word, LSTM of {hidden} units{', with predicted words' if outputs else ''}",
        target,
        *_rates(times, theirs, ours),
    )


def published() -> Iterator[Result]:
    """Against the published way of collecting."""
    yield _published(100, "at least 100 x", outputs=False)
    yield _published(1500, "at least 40 x", outputs=False, ours=20_000)
    yield _published(100, "at least 25 x", outputs=True, ours=20_000)
    yield _published(1500, "at least 10 x", outputs=True, ours=8_000)


def extraction() -> Iterator[Result]:
    """Against storing all hidden states, sentence by sentence; the same layers here."""
    yield _extraction(models.encoder(), "13 layers of an encoder of BERT's size", 600, 3_000)
    yield _extraction(models.encoder(), "the same, ours in bfloat16", 600, 3_000, autocast="bfloat16")
    yield _extraction(models.pretrained(), "7 layers of all-MiniLM-L6", 2_500, 20_000)


def _extraction(model: TextModel, of: str, theirs: int, ours: int, *, autocast: str | None = None) -> Result:
    layers = ["embeddings", "encoder.layer.*"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "states.h5"
        times = ratio(
            lambda: extract_sentence_by_sentence(model, texts.documents(theirs), file),
            lambda: collect(
                model,
                texts.corpus(ours),
                layers=layers,
                feature_types=KINDS,
                name="s",
                batch_positions=4_096,
                autocast=autocast,
            ),
            rounds=3,
        )
        size = file.stat().st_size / theirs
    return Result(
        f"extraction to HDF5, sentence by sentence, {of}",
        "at least 3.3 x",
        *_rates(times, theirs, ours, f"; {size / 1024:,.0f} KiB stored per word"),
    )


def _rates(times: Ratio, theirs: int, ours: int, more: str = "") -> tuple[str, str]:
    """Rates are compared, because so few words in one go would measure nothing but how a collection starts."""
    value, low, high = (ours / theirs * bound for bound in (times.value, times.low, times.high))
    digits = 0 if value >= 20 else 1
    return (
        f"{value:,.{digits}f} x ({low:,.{digits}f} to {high:,.{digits}f})",
        f"{ours / times.second:,.0f} words/s ({ours:,} words) against {theirs / times.first:,.0f} "
        f"({theirs:,} words){more}",
    )


def comparing() -> Iterator[Result]:
    """Distances of 1500 neurons from saved stages, against loops over some of them."""
    yield _comparing(means_word_by_word, "over neurons and their words", "at least 500 x, under a second")
    yield _comparing(means_by_groups, "over neurons, words grouped", "-")


def _comparing(means: Means, kind: str, target: str, neurons: int = 1500, sample: int = 6) -> Result:
    records = {name: _records(seed, neurons) for name, seed in (("before", 1), ("after", 2))}
    with tempfile.TemporaryDirectory() as folder:
        for name, table in records.items():
            _stage_of(name, table, neurons).save(Path(folder) / name)

        def whole() -> pl.DataFrame:
            return compare(
                Stage.load(Path(folder) / "before"), Stage.load(Path(folder) / "after"), permutations=0
            ).neurons

        def loop() -> list[float | None]:
            return hellinger_by_loops(records["before"], records["after"], range(sample), means)

        assert np.allclose(loop(), whole()["hellinger"][:sample].to_numpy(), atol=1e-9)
        times = ratio(loop, whole)
    return Result(
        f"comparing {neurons:,} neurons, 400,000 words, from saved stages, against a pandas loop {kind}",
        target,
        f"{times.value * neurons / sample:,.0f} x; {times.second:.2f} s",
        f"the loop timed on {sample} neurons: {times.first / sample:.3f} s each",
    )


def _records(seed: int, neurons: int, words: int = 400_000) -> pd.DataFrame:
    """One record per word, as the published way of collecting leaves them; Zipf-like words."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "token": [f"w{i}" for i in random.zipf(1.2, words) % 30_000],
            "neuron": random.integers(0, neurons, words),
            "activation": random.random(words),
        }
    )


def _stage_of(name: str, records: pd.DataFrame, neurons: int) -> Stage:
    tally = Tally(neurons)
    feature = tally.feature_ids(records["token"].tolist())
    fold = np.arange(len(records)) // 200 % tally.folds
    tally.count_occurrences(fold, feature)
    tally.update(fold, records["neuron"].to_numpy(), feature, records["activation"].to_numpy())
    preferences = tally.freeze(stage=name, layer="rnn", feature_type="token", selection="max-1")
    return Stage(name, {("rnn", "token"): preferences}, ExemplarTally(neurons).table("rnn"))


# The peak of the memory that the process itself has mapped: `ru_maxrss` begins with what its parent had.
_MEMORY = """
import sys
from benchmarks.texts import resampled
from txray import Corpus, collect, demo_corpus
from txray.models import language_model
words, times = int(sys.argv[1]), int(sys.argv[2])
model = language_model("lstm", demo_corpus("reviews", words=20_000), embedding=32, hidden=64)
text = resampled("reviews", words, seed=0)
corpus = Corpus("text", lambda skipped: (d for _ in range(times) for d in text), fingerprint=lambda: "text")
collect(model, corpus, feature_types=["token", "pos"], name="s", batch_positions=4096)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def memory(words: int = 400_000) -> Iterator[Result]:
    """Peak memory of a process that collects ten times as much text: the same again and again, or other text.

    So many words that all buffers are full.
    """

    def peak(words: int, times: int = 1) -> int:
        command = [sys.executable, "-W", "ignore", "-c", _MEMORY, str(words), str(times)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    base = peak(words)
    for what, target, larger in (
        ("the same text ten times", "at most 1.05 x", peak(words, 10)),
        ("ten times as much text, with more distinct (fold, neuron, feature)", "-", peak(10 * words)),
    ):
        yield Result(
            f"peak memory, {what}",
            target,
            f"{larger / base:.3f} x",
            f"{base / 1024:,.0f} MiB at {words:,} words, {larger / 1024:,.0f} MiB at {10 * words:,}",
        )


def costs() -> Iterator[tuple[str, str, str]]:
    """Seconds of tallying 200,000 words without a model, by what grows: quantity, value, seconds per million words."""
    base: dict[str, Any] = {"neurons": 1_500, "vocabulary": 10_000, "folds": 16}
    grown = {"neurons": (100, 1_500, 12_000), "vocabulary": (1_000, 10_000, 100_000), "folds": (1, 16, 64)}
    for quantity, values in grown.items():
        for value in values:
            yield quantity, f"{value:,}", f"{5 * _tallying(**{**base, quantity: value}):.2f}"


def _tallying(neurons: int, vocabulary: int, folds: int, words: int = 200_000) -> float:
    random = np.random.default_rng(0)
    names = [f"w{i}" for i in random.zipf(1.2, words) % vocabulary]
    fold, neuron = random.integers(0, folds, words), random.integers(0, neurons, words)
    value = random.random(words).astype(np.float32)

    def work() -> None:
        tally = Tally(neurons, folds)
        for start in range(0, words, 4_000):
            part = slice(start, start + 4_000)
            ids = tally.feature_ids(names[part])
            tally.count_occurrences(fold[part], ids)
            tally.update(fold[part], neuron[part], ids, value[part])
        tally.freeze(stage="s", layer="l", feature_type="token", selection="max-1")

    return ratio(work, lambda: sum(range(1_000_000)), rounds=3).first


def masking(words: int = 30_000) -> Iterator[Result]:
    """A classifier with 5% of its neurons ablated, compared with the same classifier without a mask."""
    model = classifier(models.lstm(300))
    labelled = [
        replace(document, labels={"label": ("neg", "pos")[number % 2]})
        for number, document in enumerate(texts.documents(words))
    ]
    scored = evaluator(model, Corpus.from_documents("labelled", labelled))
    activation_stats = ActivationStats.measure(model, texts.corpus(words))

    def scoring(mask: Mask) -> Callable[[], object]:
        def work() -> object:
            with masked(model, mask) as batch_keys:
                return scored.predict(batch_keys, lambda amount: None)

        return work

    bare = scoring(Mask("rnn", ()))
    targets: tuple[tuple[Ablation, str], ...] = (("zero", "at most 1.10 x"), ("mean", "-"), ("resample", "-"))
    for ablation, target in targets:
        times = ratio(scoring(activation_stats.mask(range(15), ablation)), bare)
        yield Result(
            f"scoring a classifier of 300 LSTM units, 15 of them ablated (`{ablation}`)",
            target,
            f"{times.value:.2f} x ({times.low:.2f} to {times.high:.2f})",
            f"{words:,} words; {words / times.first:,.0f} words/s masked, {words / times.second:,.0f} not",
        )


CASES: dict[str, Callable[[], Result | Iterator[Result]]] = {
    "lstm": lstm_max_1,
    "encoder": encoder_max_1,
    "input": encoder_input,
    "all": encoder_all,
    "layers": many_layers,
    "published": published,
    "extraction": extraction,
    "compare": comparing,
    "masking": masking,
    "memory": memory,
}
