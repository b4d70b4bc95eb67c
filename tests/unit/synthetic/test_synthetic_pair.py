"""The tables of a synthetic pair say what its neurons win, and only the words decide who wins."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chi2

from txray import Corpus, Document, SyntheticPair, collect, demo_corpus, synthetic_pair
from txray.errors import UsageError
from txray.models.fingerprint import model_fingerprint
from txray.preferences import Stage
from txray.synthetic import GROUPS, KINDS

TEXT = demo_corpus("encyclopedia", words=60_000)


def test_a_side_on_which_nobody_responds_can_be_collected() -> None:
    found = synthetic_pair(6, corpus=TEXT, changed=0, vanished=1, appeared=0, rarer=0)
    stage = collect(found.after, TEXT, layers=[found.layer], name="after")
    assert stage.preferences().wins().sum() == 0


ALL: dict[str, Any] = {"moved": 0.1, "effect": 1.0, "corpus": TEXT, "seed": 3}


@cache
def pair() -> SyntheticPair:
    return synthetic_pair(120, **ALL)


@cache
def stages() -> tuple[Stage, Stage]:
    found = pair()
    return tuple(
        collect(model, TEXT, layers=[found.layer], name=name)
        for model, name in ((found.before, "before"), (found.after, "after"))
    )  # type: ignore[return-value]


def won(stage: Stage) -> pl.DataFrame:
    """Wins of every neuron and feature, and how often the feature occurred."""
    preferences = stage.preferences()
    totals = preferences.totals
    return pl.DataFrame(
        {
            "neuron": totals.neuron,
            "feature": preferences.features[totals.feature_id].tolist(),
            "wins": totals.count,
        }
    )


def occurrences() -> pl.DataFrame:
    words = [word.lower() for document in TEXT for word in document.words]
    return pl.Series("feature", words).value_counts(name="occurrences")


def columns(side: str) -> dict[int, dict[str, float]]:
    rows = pair().profiles.filter(pl.col("side") == side)
    found: dict[int, dict[str, float]] = {neuron: {} for neuron in range(120)}
    for neuron, feature, probability in rows.select("neuron", "feature", "win_probability").iter_rows():
        found[neuron][feature] = probability
    return found


@pytest.mark.parametrize("side", ["before", "after"])
def test_words_are_won_with_the_given_probabilities(side: str) -> None:
    stage = stages()[side == "after"]
    told = pair().profiles.filter(pl.col("side") == side).join(occurrences(), on="feature")
    cells = told.join(won(stage), on=["neuron", "feature"], how="left").with_columns(
        pl.col("wins").fill_null(0), expected=pl.col("occurrences") * pl.col("win_probability")
    )
    assert cells["wins"].sum() == stage.preferences().wins().sum(), "nobody else wins anything"
    # Word by word a multinomial draw: the cells with enough expected, and all others together with nobody.
    enough = cells.filter(pl.col("expected") >= 5)
    others = enough.group_by("feature").agg(
        wins=pl.col("occurrences").first() - pl.col("wins").sum(),
        expected=pl.col("occurrences").first() - pl.col("expected").sum(),
    )
    assert (others["expected"] > 0).all()
    assert len(enough) > 400
    statistic = sum(
        ((table["wins"] - table["expected"]) ** 2 / table["expected"]).sum() for table in (enough, others)
    )
    assert 0.001 < chi2.sf(statistic, len(enough)) < 0.999
    # Rare cells have no chi-square each; together they still are what is expected.
    rest = cells.filter(pl.col("expected") < 5)
    assert abs(rest["wins"].sum() - rest["expected"].sum()) < 4 * np.sqrt(rest["expected"].sum())


def test_samples_of_both_modules_are_independent() -> None:
    found = pair()
    document = next(iter(TEXT))
    repeated = Document("again", tuple(document.words) * 40)
    one, other = (winners(model, repeated.words) for model in (found.before, found.after))
    by_word: dict[str, NDArray[np.float64]] = {word.lower(): np.zeros((2, 120)) for word in document.words}
    for side, name in enumerate(("before", "after")):
        for neuron, column in columns(name).items():
            for word in column.keys() & by_word.keys():
                by_word[word][side, neuron] = column[word]
    chance = np.array([by_word[word.lower()].prod(axis=0).sum() for word in repeated.words])
    assert chance.sum() > 100
    agree = int(((one == other) & (one >= 0)).sum())
    assert abs(agree - chance.sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())


def winners(model: Any, words: Any) -> NDArray[np.int64]:
    """(n_words,) the neuron that wins each; -1 where none does."""
    ids = torch.tensor([model.encode(words)])
    response = model.module(ids)[0].numpy()
    return np.where(response.max(axis=1) > 0, response.argmax(axis=1), -1)


def test_what_does_not_change_is_the_same_to_the_last_bit_and_the_others_do_what_their_group_says() -> None:
    before, after = columns("before"), columns("after")
    frequency = dict(occurrences().iter_rows())
    assert pair().truth["group"].value_counts().height == len(GROUPS) - len(KINDS) - 1
    for row in pair().truth.iter_rows(named=True):
        neuron, index = row["neuron"], row["neuron_after"]
        old, new = before[neuron], after[neuron if index is None else index]
        assert (len(old), len(new)) == (row["length_before"], row["length_after"])
        for column, side in ((old, "before"), (new, "after")):
            rate = sum(p * frequency[word] for word, p in column.items()) / 60_000
            assert row[f"rate_{side}"] == pytest.approx(rate, rel=1e-9)
        assert (index is None) == (row["group"] == "vanished")
        assert (index == neuron) == (row["group"] not in ("moved", "vanished"))
        match row["group"]:
            case "unchanged" | "moved":
                assert old == new
                assert old
            case "changed":
                assert not old.keys() & new.keys()
                assert row["rate_before"] == pytest.approx(row["rate_after"], rel=1e-9)
            case "vanished":
                assert old
                assert not new
            case "appeared":
                assert new
                assert not old
            case "rarer":
                assert new == pytest.approx({word: p / 10 for word, p in old.items()}, rel=1e-12)


def test_vanished_neurons_never_win_after_and_appeared_ones_never_before() -> None:
    truth = pair().truth
    wins = [stage.preferences().wins() for stage in stages()]
    vanished = truth.filter(pl.col("group") == "vanished")["neuron"].to_numpy()
    appeared = truth.filter(pl.col("group") == "appeared")["neuron"].to_numpy()
    assert (wins[1][vanished] == 0).all()
    assert (wins[0][vanished] > 0).sum() >= 11
    assert (wins[0][appeared] == 0).all()
    assert (wins[1][appeared] > 0).sum() >= 11


def test_shares_of_neurons_are_those_asked_for() -> None:
    counts = dict(pair().truth["group"].value_counts().iter_rows())
    assert counts == {
        "unchanged": 48,
        "changed": 24,
        "vanished": 12,
        "appeared": 12,
        "rarer": 12,
        "moved": 12,
    }
    assert repr(pair()) == (
        "SyntheticPair(120 neurons in 'demo/encyclopedia/train': 48 unchanged, 24 changed, 12 vanished, 12 appeared, "
        "12 rarer, 12 moved)"
    )
    # Rounded one by one, these would be seven of six neurons.
    tight = synthetic_pair(6, corpus=TEXT, changed=0.25, vanished=0.25, appeared=0.25, rarer=0.25)
    assert sorted(tight.truth["group"].unique()) == sorted(GROUPS[1:5])


def test_half_an_effect_moves_half_of_the_wins() -> None:
    found = synthetic_pair(
        60, corpus=TEXT, changed=1.0, vanished=0, appeared=0, rarer=0, effect=0.5, seed=1
    ).profiles
    frequency = occurrences()
    table = found.join(frequency, on="feature").with_columns(
        rate=pl.col("win_probability") * pl.col("occurrences")
    )
    old, new = (table.filter(pl.col("side") == side) for side in ("before", "after"))
    kept = new.join(old, on=["neuron", "feature"], how="semi").group_by("neuron").agg(pl.col("rate").sum())
    totals = old.group_by("neuron").agg(total=pl.col("rate").sum())
    share = kept.join(totals, on="neuron").select(pl.col("rate") / pl.col("total")).to_series()
    assert len(share) == 60
    assert share.to_list() == pytest.approx([0.5] * 60, rel=1e-9)
    after = new.group_by("neuron").agg(after=pl.col("rate").sum()).join(totals, on="neuron")
    assert after["after"].to_list() == pytest.approx(after["total"].to_list(), rel=1e-9), "as often as before"


def test_lengths_and_rates_spread_as_told() -> None:
    truth = synthetic_pair(400, corpus=TEXT, changed=0, vanished=0, appeared=0, rarer=0).truth
    assert truth["length_before"].min() == 3
    assert 250 < truth["length_before"].to_numpy().max() <= 300
    # Log-uniform: as many up to the middle, the root of 3 * 300, as above.
    assert 150 < (truth["length_before"] <= 29).sum() < 250
    few = synthetic_pair(50, corpus=TEXT, lengths=(4, 4), effect=1.0).truth
    assert set(few["length_before"]) | set(few["length_after"]) == {0, 4}
    low, high = truth["rate_before"].quantile(0.05), truth["rate_before"].quantile(0.95)
    assert low is not None
    assert high is not None
    assert 30 < high / low < 300
    assert 0.35 < truth["rate_before"].sum() < 0.6


def test_batches_padding_and_order_change_no_activation() -> None:
    model = pair().before
    texts = [model.encode(document.words) for document in TEXT.head(7)]
    longest = max(map(len, texts)) + 5
    ids = torch.zeros((7, longest), dtype=torch.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
    mask = torch.arange(longest) < torch.tensor([len(text) for text in texts])[:, None]
    together = model.forward(model.module, ids, mask)
    assert isinstance(together, torch.Tensor)
    assert bool((together[~mask] == 0).all())
    reverse = model.forward(model.module, ids.flip(0), mask.flip(0))
    assert isinstance(reverse, torch.Tensor)
    assert torch.equal(reverse.flip(0), together)
    for row, text in enumerate(texts):
        alone = model.module(torch.tensor([text]))[0]
        assert torch.equal(alone, together[row, : len(text)])


def test_stages_do_not_depend_on_batches_or_the_order_of_documents() -> None:
    found = pair()
    whole = stages()[0].preferences()
    backwards = Corpus.from_documents("backwards", list(TEXT)[::-1])
    for corpus, positions in ((TEXT, 700), (backwards, 16_384)):
        other = collect(found.before, corpus, layers=[found.layer], name="b", batch_positions=positions)
        assert np.array_equal(other.preferences().count, whole.count)
        assert np.array_equal(other.preferences().feature_id, whole.feature_id)


def test_how_strongly_a_winner_responds_is_the_same_whoever_it_is() -> None:
    """Else a neuron would respond otherwise because others change, and would not be unchanged."""
    for stage in stages():
        totals = stage.preferences().totals
        often = totals.count >= 50
        assert often.sum() > 60
        deviation = (totals.sum[often] / totals.count[often] - 0.5) * np.sqrt(12 * totals.count[often])
        assert chi2.sf((deviation**2).sum(), often.sum()) > 0.001
        assert 0.45 < float(stage.preferences().mass().sum() / stage.preferences().wins().sum()) < 0.55


def test_same_seed_same_pair_and_another_seed_another() -> None:
    again, other = synthetic_pair(120, **ALL), synthetic_pair(120, **{**ALL, "seed": 4})
    assert again.truth.equals(pair().truth)
    assert again.profiles.equals(pair().profiles)
    prints = [
        model_fingerprint(model.module)
        for each in (pair(), again, other)
        for model in (each.before, each.after)
    ]
    assert prints[:2] == prints[2:4]
    assert len(set(prints)) == 4
    document = next(iter(TEXT))
    one, same, another = (winners(each.before, document.words) for each in (pair(), again, other))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, another)
    assert not other.truth["group"].equals(pair().truth["group"])


def test_neurons_are_drawn_without_touching_the_global_random_state() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(3), np.random.random(3)
    torch.manual_seed(1)
    np.random.seed(1)
    synthetic_pair(10, corpus=TEXT)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.random(3), expected[1])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n_neurons": 0}, "n_neurons=0; pass an integer of at least 1"),
        ({"n_neurons": 1.5}, "n_neurons=1.5"),
        ({"lengths": (0, 5)}, r"lengths=\(0, 5\); pass two ascending integers"),
        ({"lengths": (9, 5)}, r"lengths=\(9, 5\)"),
        ({"changed": -0.1}, "changed=-0.1; pass a share from 0 to 1"),
        ({"rarer": float("nan")}, "rarer=nan; pass a share"),
        ({"changed": 0.9, "vanished": 0.3}, "vanished=0.3.* sum to 1.4"),
        ({"effect": 0.0}, "effect=0.0; pass a share above 0"),
        ({"rarer_by": 0.5}, "rarer_by=0.5; pass a number of at least 1"),
        ({"rarer_by": float("inf")}, "rarer_by=inf"),
        ({"seed": -1}, "seed=-1; pass an integer from 0"),
        ({"n_neurons": 10, "moved": 0.1}, "moved=0.1 of 10 neurons is one neuron; move at least two"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=f"^synthetic_pair: .*{told}") as caught:
        synthetic_pair(**{"corpus": TEXT, **options})
    assert "\n" not in str(caught.value)


def test_a_corpus_with_too_few_words_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'tiny' has 1 different words with at least 10 occurrences"):
        synthetic_pair(corpus=Corpus.from_documents("tiny", [Document("a", ("ship",) * 20)]))
