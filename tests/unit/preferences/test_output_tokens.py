"""Stored output tokens, and how the wins of neurons agree with what the model predicts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.builders.stages import stage_of, vocabulary
from tests.builders.texts import corpus_of, documents, small_model
from txray import Stage, StageFolder, collect
from txray.errors import ShapeError, StageError, UsageError
from txray.preferences import Preferences, Tally, merge_folders, merge_stages
from txray.preferences.output_tokens import OUTPUT_TOKEN_SCHEMA, agreement_of


@pytest.fixture(scope="module")
def stage() -> Stage:
    return collect(
        small_model(), corpus_of(documents(24)), name="s", feature_types=["token", "output"], output_tokens=6
    )


def test_they_are_saved_and_read_again(stage: Stage, tmp_path: Path) -> None:
    folder = StageFolder.open(stage.save(tmp_path / "s"))
    assert folder.output_tokens.equals(stage.output_tokens)
    assert Stage.load(folder).output_tokens.equals(stage.output_tokens)
    assert folder.output_agreement().equals(stage.output_agreement())
    assert "output_tokens.parquet" in folder.manifest["checksums"]
    for source in (stage, folder):
        neuron = source.neuron(3)
        rows = stage.output_tokens.filter(neuron=3, side="suppressed")
        assert neuron.suppressed.equals(rows.select("token", "effect"))
        assert neuron.promoted["token"].to_list()[0] in neuron._repr_html_()
        assert neuron.agreement is not None
        assert neuron.agreement.equals(stage.output_agreement().filter(neuron=3))


def test_a_stage_without_them_has_no_file_for_them(tmp_path: Path) -> None:
    stage = stage_of("s", vocabulary(30))
    folder = StageFolder.open(stage.save(tmp_path / "s"))
    assert not (folder.path / "output_tokens.parquet").exists()
    assert folder.output_tokens.schema == OUTPUT_TOKEN_SCHEMA
    neuron = folder.neuron(0)
    assert neuron.promoted.is_empty()
    assert neuron.agreement is None
    with pytest.raises(UsageError, match="feature type 'output' and output_tokens=20"):
        folder.output_agreement()


def test_shards_together_have_those_of_the_whole(stage: Stage, tmp_path: Path) -> None:
    corpus, model = corpus_of(documents(24)), small_model()
    shards = [
        collect(model, corpus.shard(n, 2), name="s", feature_types=["token", "output"], output_tokens=6)
        for n in (1, 2)
    ]
    merged = merge_stages(shards)
    assert merged.output_tokens.equals(stage.output_tokens)
    assert merged.manifest["output_tokens"] == stage.manifest["output_tokens"]
    folders = [shard.save(tmp_path / str(n)) for n, shard in enumerate(shards)]
    whole = StageFolder.open(merge_folders(folders, tmp_path / "merged"))
    assert whole.output_tokens.equals(stage.output_tokens)
    assert whole.output_agreement().drop("low", "high").equals(stage.output_agreement().drop("low", "high"))
    other = collect(model, corpus.shard(2, 2), name="s", feature_types=["token", "output"])
    with pytest.raises(ShapeError, match="output_tokens"):
        merge_stages([shards[0], other])


@pytest.mark.parametrize("damage", ["cut", "gone", "infinite", "side"])
def test_a_damaged_table_is_noticed(stage: Stage, damage: str, tmp_path: Path) -> None:
    folder = stage.save(tmp_path / "s")
    file = folder / "output_tokens.parquet"
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        change = {
            "infinite": pl.lit(float("inf")).alias("effect"),
            "side": pl.lit("left").alias("side"),
        }
        table = pl.read_parquet(file).with_columns(change[damage])
        table.write_parquet(file)
    with pytest.raises(StageError, match="output_tokens.parquet|cannot be read"):
        _ = StageFolder.open(folder).output_tokens
    with pytest.raises(StageError):
        Stage.load(folder)


def counted(
    wins: list[tuple[int, int, str]], words: list[tuple[int, str]], selection: str = "max-1", folds: int = 4
) -> Preferences:
    """Return preferences for `output`: (fold, neuron, prediction) of every win, (fold, prediction) of every word."""
    tally = Tally(3, folds)
    fold, names = np.array([fold for fold, _ in words]), [name for _, name in words]
    tally.count_occurrences(fold, tally.feature_ids(names))
    folds_of_wins, neurons = (np.array([win[i] for win in wins], np.int64) for i in (0, 1))
    tally.update(folds_of_wins, neurons, tally.feature_ids([win[2] for win in wins]), np.ones(len(wins)))
    return tally.freeze(stage="s", layer="l", feature_type="output", selection=selection)


def tokens_of(**tokens: list[tuple[int, str]]) -> pl.DataFrame:
    """Return output tokens: side -> (neuron, token)."""
    rows = [
        ("l", neuron, side, 0, 0, token, 1.0 if side == "promoted" else -1.0)
        for side, pairs in tokens.items()
        for neuron, token in pairs
    ]
    return pl.DataFrame(rows, OUTPUT_TOKEN_SCHEMA, orient="row")


def random_text(rng: np.random.Generator, n: int) -> list[tuple[int, str]]:
    return list(zip(rng.integers(0, 4, n).tolist(), rng.choice(list("abcdefgh"), n).tolist(), strict=True))


def test_shares_and_intervals_are_those_counted_by_hand() -> None:
    rng = np.random.default_rng(0)
    words = random_text(rng, 400)
    wins = [(fold, int(rng.integers(0, 2)), name) for fold, name in words[:150]]
    tokens = tokens_of(promoted=[(0, "a"), (0, "b"), (0, "unseen"), (1, "c"), (2, "a")])
    table = agreement_of(counted(wins, words), tokens)
    promoted = {0: {"a", "b"}, 1: {"c"}}
    for neuron, names in promoted.items():

        def statistics(left_out: int, neuron: int = neuron, names: set[str] = names) -> tuple[float, float]:
            own = [name for fold, number, name in wins if number == neuron and fold != left_out]
            read = [name for fold, name in words if fold != left_out]
            return np.isin(own, list(names)).mean(), np.isin(read, list(names)).mean()

        share, expected = statistics(-1)
        row = table.row(neuron, named=True)
        assert row["wins"] == sum(number == neuron for _, number, _ in wins)
        assert (row["share"], row["expected"]) == pytest.approx((share, expected))
        without = [one - other for one, other in map(statistics, range(4))]
        variance = max(
            3 / 4 * sum((x - np.mean(without)) ** 2 for x in without), expected * (1 - expected) / row["wins"]
        )
        half = 3.182446 * np.sqrt(variance)  # Student's t with 3 degrees of freedom
        assert (row["low"], row["high"]) == pytest.approx(
            (share - expected - half, share - expected + half), abs=1e-6
        )
    assert table.row(2, named=True)["share"] is None  # never won


def test_a_neuron_that_wins_at_random_agrees_no_more_than_expected() -> None:
    covered = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        words = [
            (int(fold), name)
            for fold, (_, name) in zip(rng.integers(0, 16, 800), random_text(rng, 800), strict=True)
        ]
        wins = [(fold, 0, name) for fold, name in words if rng.random() < 0.1]
        table = agreement_of(counted(wins, words, folds=16), tokens_of(promoted=[(0, "a"), (0, "b")]))
        row = table.row(0, named=True)
        covered.append(row["low"] <= 0 <= row["high"])
    assert 0.93 <= np.mean(covered) <= 1.0


def test_a_neuron_that_wins_where_its_tokens_are_predicted_agrees_more() -> None:
    rng = np.random.default_rng(1)
    words = random_text(rng, 400)
    wins = [(fold, 0, name) for fold, name in words if name in "ab"]
    row = agreement_of(counted(wins, words), tokens_of(promoted=[(0, "a"), (0, "b")])).row(0, named=True)
    assert row["share"] == 1
    assert row["low"] > 0.5
    assert row["high"] <= 1


def test_negative_activations_promote_what_positive_ones_suppress() -> None:
    words = [(0, "a"), (1, "b"), (2, "b"), (3, "a")]
    wins = [(0, 0, "a"), (3, 0, "a")]
    tokens = tokens_of(promoted=[(0, "b")], suppressed=[(0, "a")])
    assert agreement_of(counted(wins, words), tokens)["share"][0] == 0
    assert agreement_of(counted(wins, words, "max-1/negative"), tokens)["share"][0] == 1
    with pytest.raises(UsageError, match="ignores the sign"):
        agreement_of(counted(wins, words, "all/absolute"), tokens)


def test_a_stage_of_absolute_activations_shows_its_neurons(stage: Stage) -> None:
    absolute = collect(
        small_model(),
        corpus_of(documents(6)),
        name="s",
        feature_types=["token", "output"],
        selection="max-1/absolute",
        output_tokens=3,
    )
    assert absolute.neuron(0).agreement is None
    with pytest.raises(UsageError, match="ignores the sign"):
        absolute.output_agreement()


def test_wins_in_one_fold_have_no_interval() -> None:
    words = [(0, "a"), (1, "b"), (2, "b"), (3, "a")]
    row = agreement_of(counted([(0, 0, "a")], words), tokens_of(promoted=[(0, "a")])).row(0, named=True)
    assert (row["share"], row["expected"], row["low"], row["high"]) == (1, 0.5, None, None)


def test_tokens_that_are_never_predicted_have_no_interval() -> None:
    words = [(0, "a"), (1, "b"), (2, "b"), (3, "a")]
    wins = [(fold, 0, name) for fold, name in words]
    for tokens, share in (([(0, "c")], 0), ([(0, "a"), (0, "b")], 1)):
        row = agreement_of(counted(wins, words), tokens_of(promoted=tokens)).row(0, named=True)
        assert (row["share"], row["expected"], row["low"], row["high"]) == (share, share, None, None)


def test_hostile_tokens_are_text(stage: Stage, tmp_path: Path) -> None:
    token = '<script>alert("x")</script>\n,"'
    table = stage.output_tokens.with_columns(token=pl.lit(token))
    hostile = replace(stage, output_tokens=table)
    folder = StageFolder.open(hostile.save(tmp_path / "s"))
    assert folder.output_tokens["token"][0] == token
    assert "<script>" not in folder.neuron(1)._repr_html_()


def test_a_manifest_does_not_name_a_table_that_is_not_there(stage: Stage, tmp_path: Path) -> None:
    folder = stage.save(tmp_path / "s")
    shutil.copytree(folder, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    del manifest["checksums"]["output_tokens.parquet"]
    (tmp_path / "copy" / "manifest.json").write_text(json.dumps(manifest))
    assert Stage.load(tmp_path / "copy").output_tokens.is_empty()
