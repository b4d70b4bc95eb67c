"""The interaction of model and text, against plain numpy, and its error rate and power where the truth is known."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

import txray
from tests.builders.preferences import preferences_of, random_events
from txray.analysis.effect_sizes import EffectSize
from txray.analysis.significance.interaction import TwoModels, interaction_statistic
from txray.analysis.significance.permutation import Permutations, observed, q_values
from txray.analysis.significance.rng import generator_for
from txray.analysis.significance.split_half import Halves, split_in_halves
from txray.preferences import Preferences

FOLDS = 4


def four(seed: int = 0) -> list[Preferences]:
    """Random preferences of two models on two texts; both models read the same words."""
    sides = [
        preferences_of(
            random_events(900, n_neurons=5, n_features=12, folds=FOLDS, seed=seed + number),
            n_neurons=5,
            folds=FOLDS,
        )
        for number in range(4)
    ]
    text = {name: np.random.default_rng(seed + name).integers(0, 90, (FOLDS, 40)) for name in (0, 1)}
    vocabulary = sorted({name for side in sides for name in side.features.tolist()})
    result = []
    for number, side in enumerate(sides):
        column = [vocabulary.index(name) for name in side.features.tolist()]
        result.append(replace(side, corpus_counts=200 + text[number % 2][:, column]))
    return result


def by_hand(stages: Sequence[Preferences], left: np.ndarray, neuron: int) -> float:
    """The statistic of one neuron and one set of folds, feature by feature."""
    names = sorted({name for stage in stages for name in stage.features.tolist()})
    wins = np.zeros((2, 4, len(names), FOLDS))
    text = np.zeros((2, len(names), FOLDS))
    for number, stage in enumerate(stages):
        position = np.array([names.index(name) for name in stage.features.tolist()])
        rows = stage.neuron == neuron
        for by, values in enumerate((stage.count, stage.sum)):
            np.add.at(wins[by, number], (position[stage.feature_id[rows]], stage.fold[rows]), values[rows])
        text[number % 2][position] += stage.corpus_counts.T / 2
    features = np.flatnonzero(wins[0].sum(axis=(0, 2)) > 0)
    wins, text = wins[:, :, features], text[:, features]
    mean = wins[1].sum(axis=(0, 2)) / wins[0].sum(axis=(0, 2))
    of_text = text.sum(axis=2)
    weight = np.divide(of_text.min(axis=0), of_text, out=np.zeros_like(of_text), where=of_text > 0)
    occurrences = np.concatenate([text[t] * weight[t][:, None] for t in (0, 1)], axis=1)
    results = []
    for values in (wins[0], wins[1] / mean[:, None]):
        weighted = np.stack([values[number] * weight[number % 2][:, None] for number in range(4)])
        totals = weighted.sum(axis=(1, 2))
        if (totals == 0).any():
            return float("nan")
        weighted *= (totals.mean() / totals)[:, None, None]
        before = np.concatenate((weighted[0], weighted[1]), axis=1)
        after = np.concatenate((weighted[2], weighted[3]), axis=1)
        difference = after - before
        excess = difference - occurrences * (difference.sum(axis=1) / occurrences.sum(axis=1))[:, None]
        number = (before + after).sum(axis=1)
        concentration = np.square(occurrences).sum(axis=1) / np.square(occurrences.sum(axis=1))
        variance = number * np.square(excess).sum() / (number * (1 - concentration)).sum()
        share = occurrences[:, left == 1].sum(axis=1) / occurrences.sum(axis=1)
        spread = share * (1 - share)
        d = excess[:, left == 1].sum(axis=1)
        d -= variance * spread * d.sum() / (variance * spread).sum()
        results.append((np.square(d) / variance - spread).sum() / np.sqrt(np.square(spread).sum()))
    return max(results)


def test_the_statistic_is_that_of_plain_numpy() -> None:
    stages = four()
    left = np.stack([np.repeat([1.0, 0.0], FOLDS), np.tile([1.0, 0.0], FOLDS)], axis=1)
    values = interaction_statistic(TwoModels.of(stages), left)
    expected = [[by_hand(stages, left[:, number], neuron) for number in (0, 1)] for neuron in range(5)]
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_the_order_of_models_and_texts_does_not_matter() -> None:
    stages = four(7)
    left = observed(FOLDS)
    values = interaction_statistic(TwoModels.of(stages), left)
    for order in ((2, 3, 0, 1), (1, 0, 3, 2), (3, 2, 1, 0)):
        exchanged = interaction_statistic(TwoModels.of([stages[index] for index in order]), left)
        np.testing.assert_allclose(exchanged, values, rtol=1e-9)


def test_one_model_twice_has_no_interaction() -> None:
    a, b, _, _ = four(3)
    models = TwoModels.of([a, b, a, b])
    tests = Permutations(
        [models],
        interaction_statistic,
        paired=False,
        max_permutations=200,
        fdr=0.05,
        random=generator_for(0, "interaction"),
    )
    assert (tests.p_value == 1).all()


def test_a_neuron_that_is_missing_in_one_stage_cannot_be_told() -> None:
    stages = four(5)
    rows = stages[3].neuron != 2
    columns = {
        name: getattr(stages[3], name)[rows]
        for name in ("neuron", "feature_id", "fold", "count", "sum", "sum_sq", "max")
    }
    values = interaction_statistic(
        TwoModels.of([*stages[:3], replace(stages[3], **columns)]), observed(FOLDS)
    )
    assert np.isnan(values[2]).all()
    assert np.isfinite(np.delete(values, 2, axis=0)).all()


def test_diagonals_hold_as_many_activations_of_all_four_stages() -> None:
    stages = four(9)
    (draw,) = TwoModels.of(stages).diagonals(1, seed=0)
    sides = draw.wins()[:, :FOLDS].sum(axis=1), draw.wins()[:, FOLDS:].sum(axis=1)
    np.testing.assert_array_equal(*sides)
    fewest = np.min([stage.wins() for stage in stages], axis=0)
    assert (sides[0] > 0).all()
    assert (sides[0] <= 2 * fewest).all()
    assert (sides[0] % 2 == 0).all()


@cache
def synthetic(planted: bool, seed: int) -> tuple[list[Preferences], np.ndarray]:
    """Two synthetic models on two texts with other topics, and the group of each neuron.

    If planted, what the second model changes is missing on the second text: there, another sample of the first is read.
    """
    texts = [
        txray.synthetic.synthetic_text(25_000, shift=shift, seed=seed + int(shift)) for shift in (0.0, 1.0)
    ]
    pair = txray.synthetic_pair(
        200, corpus=texts[0].concat(texts[1]), seed=seed, vanished=0.0, appeared=0.0, rarer=0.0, changed=0.3
    )
    on_second = pair.after
    if planted:
        on_second = copy.deepcopy(pair.before)
        on_second.module.seed.fill_(10**6 + seed)
    cells = ((pair.before, 0), (pair.before, 1), (pair.after, 0), (on_second, 1))
    stages = [
        txray.collect(model, texts[text], layers=[pair.layer], name=str(number)).preferences()
        for number, (model, text) in enumerate(cells)
    ]
    return stages, pair.truth["group"].to_numpy()


def p_values(stages: Sequence[Preferences]) -> np.ndarray:
    return Permutations(
        [TwoModels.of(stages)],
        interaction_statistic,
        paired=False,
        max_permutations=1_000,
        fdr=0.05,
        random=generator_for(0, "interaction"),
    ).p_value


def size(stages: Sequence[Preferences]) -> EffectSize:
    models = TwoModels.of(stages)
    draws = models.diagonals(3, seed=0)
    splits = split_in_halves(models.folds, 16, generator_for(0, "splits"))
    return EffectSize.of(draws, Halves.of(draws, *splits, "mean"), splits, "mean")


def test_effects_of_the_model_and_of_the_text_alone_are_no_interaction() -> None:
    stages, _ = synthetic(planted=False, seed=21)
    p_value = p_values(stages)
    tested = p_value[np.isfinite(p_value)]
    assert len(tested) > 150
    # 5% are expected; 10% and more of 180 are rarer than one in a hundred.
    assert (tested < 0.05).mean() < 0.1
    assert (q_values(p_value)[np.isfinite(p_value)] <= 0.05).sum() <= 1
    assert size(stages).layer_low == 0


def test_a_planted_interaction_is_seen() -> None:
    stages, group = synthetic(planted=True, seed=21)
    p_value = p_values(stages)
    q_value = np.where(np.isfinite(p_value), q_values(p_value), 1)
    assert (q_value[group == "changed"] <= 0.05).mean() > 0.35
    assert (q_value[group == "unchanged"] <= 0.05).mean() < 0.03
    null, _ = synthetic(planted=False, seed=21)
    assert size(stages).layer > size(null).layer + 0.15
