"""Two preferences aligned neuron by neuron: states, lengths, masses, distances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from txray.analysis.comparison_tables import neuron_table, summary_of
from txray.analysis.distances import Distance, require_distance
from txray.analysis.findings import Findings
from txray.analysis.neuron_change import NeuronChange, changed_table, most_changed_html
from txray.analysis.result_folder import ResultFolder, SavedResult, figure_name
from txray.analysis.shown_distance import CORRECTED, corrected_words, shown_distance
from txray.analysis.significance.tests import (
    SignificanceSettings,
    TestStatistic,
    tested_neurons,
    with_statistic,
)
from txray.analysis.states import ONE_SIDED, STATES
from txray.analysis.subjects import (
    preferences_of,
    require_comparable,
    require_tagged,
    same_documents,
    same_model,
    stage_of,
    subject,
    tagged_stages,
    text_facts,
)
from txray.analysis.test_facts import pairing_sentence
from txray.arguments import checked_call
from txray.errors import UsageError
from txray.notebook import card
from txray.preferences.preferences import Preferences, Weight
from txray.preferences.stage import Stage
from txray.preferences.stage_like import StageLike
from txray.preferences.tags import token_tags

if TYPE_CHECKING:
    import plotly.graph_objects as go

_CHANGED_NEURONS = ("most_changed_neurons", "least_changed_neurons")
_FIGURES = ("hellinger_length", "volcano", "states", "length_shift", "gained_table", *_CHANGED_NEURONS)


@dataclass(frozen=True, eq=False)
class Comparison(SavedResult):
    """Comparison of two stages of one layer, for one feature type.

    Attributes:
        before: the earlier preferences.
        after: the later ones, of the same neurons.
        weight: what the preference distributions normalise.
        neurons: polars, one row per neuron: neuron, state, length_before, length_after,
            hellinger_length, mass_before, mass_after, wins_before, wins_after, hellinger and
            hellinger_published_code (null if the neuron is un-preferred in one of the stages); and the columns of
            the tests, see `test`.
        summary: counts of the states and means over neurons, plain JSON values.
        same_documents: whether both stages read the same documents; None if unknown.
        same_model: whether the same model, read in the same way, gave both stages: then only the text can explain
            differences. None if unknown.
        tagged: both stages with tokens and parts of speech of the layer, if these were collected and tokens are
            compared; else None.
    """

    SUMMARY_FILE = "summary.json"

    before: Preferences
    after: Preferences
    weight: Weight
    neurons: pl.DataFrame
    summary: Mapping[str, Any]
    same_documents: bool | None = None
    same_model: bool | None = None
    tagged: tuple[Stage, Stage] | None = None

    @property
    def layer(self) -> str:
        """Return the name of the layer."""
        return self.after.layer

    @property
    def feature_type(self) -> str:
        """Return the feature type."""
        return self.after.feature_type

    @property
    def tested(self) -> bool:
        """Return whether the comparison has been tested."""
        return "changed" in self.summary

    @property
    def text_matched(self) -> bool:
        """Return whether the tests are at equal text, because the stages read different texts."""
        return bool(self.summary.get("text_matched", False))

    @property
    def only_text(self) -> bool:
        """Return whether only the text can explain differences: one model read two texts."""
        return bool(self.same_model) and not self.same_documents

    @property
    def fdr(self) -> float | None:
        """Return the false discovery rate of the tests; None if there are none."""
        return float(self.summary["fdr"]) if self.tested else None

    @property
    def findings(self) -> Findings:
        """Return counts of observed and tested states, and the sentences that report them."""
        return Findings.of(self.neurons, self.fdr, only_text=self.only_text)

    def test(
        self,
        *,
        distance: Distance = "hellinger",
        permutations: int = 10_000,
        fdr: float = 0.05,
        seed: int = 0,
        splits: int = 16,
        draws: int = 10,
        statistic: TestStatistic | None = None,
        text_matched: bool | None = None,
        min_effect: float = 0.0,
    ) -> Comparison:
        """Return a copy with tests of significance; `compare` runs them by default.

        Both stages are compared at equal numbers of activations, neuron by neuron: the larger one is downsampled.
        If they read different texts, these are matched first: the occurrences of each feature are randomly thinned to
        the smaller number, and activations with them. So neurons do not seem to change because the text does. Whole
        folds of documents are exchanged, split and resampled, because words of one document are not independent.

        The columns that `neurons` gains:

        - `distance_matched`: the distance at equal numbers of activations; `distance_null`: its mean under permutation,
          which is what to expect if nothing changed; `p_value` of the statistic, and `q_value` by Benjamini and
          Hochberg; `z_score`: by how many standard deviations of its permutations the statistic exceeds their mean. It
          ranks neurons whose p-values are all at the minimum.
        - `hellinger_corrected`: how far the neuron moved, the Hellinger distance corrected for attenuation, with the
          bounds of its 95% interval `hellinger_corrected_low` and `hellinger_corrected_high`; null if the halves of a
          stage overlap too little to estimate it. `signal`: cross-validated H^2, 0 on average if nothing changed: for
          ranking and testing, not a size.
        - `noise_floor`: distance between halves of one stage; `distance_halves`: between halves of the two.
        - `win_rate_before`, `win_rate_after`: selected activations per word; `rate_p_value`, `rate_q_value` of their
          difference; `absence_p_value`: the probability that a neuron with wins in one stage only still responds in the
          other, at a tenth of its rate, and was merely not observed; `confident_state`: the state, or `undecided` for
          an avoided or gained neuron whose rates do not differ significantly, or that may merely have become rare, and
          `displaced` for changes that the growth or decline of another neuron explains (see the page on concepts):
          `displaced_by`, with `displaced_share`, `displaced_p_value`, `displaced_q_value` and `displaced_z_score`.
        - `rarefied_length_before`, `rarefied_length_after`: expected lengths at equal numbers of activations.
        - `detectable`: the corrected distance at which half of the neurons with as many wins would be significant; null
          if not even a complete change would be (see `txray.analysis.power`). `min_effect`: as passed.
        - `text_matched`: whether texts were matched for all of these columns except win rates and lengths.

        Args:
            distance: the distance to test: `hellinger`, `jensen-shannon` or `total-variation`.
            permutations: maximum number of permutations per neuron; a few hundred are enough for most neurons.
            fdr, seed: false discovery rate, and random seed; the same seed gives the same numbers.
            splits, draws: numbers of random splits of the folds into halves, and of random downsamplings to average.
            statistic: `chi-square`, or the `distance`, which finds fewer changes (see the page on evidence) and is the
                default only for texts whose documents differ more than 2.5-fold in length.
            text_matched: whether to test at equal text; None matches texts that differ.
            min_effect: corrected Hellinger distance that a change must exceed to be significant. Then p-values are of
                "moved by at most `min_effect`": the larger of the permutation test's and of the interval's.

        Raises:
            UnknownNameError: an unknown distance or statistic.
            UsageError: fewer than two folds, different numbers of them, or a number out of range.

        Warns:
            PowerWarning: too few folds with documents, or too few permutations, for any neuron to be significant.
            DocumentLengthWarning: documents of one stage are more than 2.5 times as long as those of the other.
        """
        return self.tested_with(
            SignificanceSettings(
                distance, permutations, fdr, seed, splits, draws, statistic, text_matched, min_effect
            )
        )

    def tested_with(self, settings: SignificanceSettings) -> Comparison:
        """Return a copy with tests of significance; see `test`."""
        settings = with_statistic(settings, self.summary)
        in_common = float(self.summary.get("words_in_common", 0))
        sides, same = (self.before, self.after), self.same_documents
        neurons, summary = tested_neurons(
            *sides, self.weight, self.neurons, settings, same_documents=same, words_in_common=in_common
        )
        return replace(self, neurons=neurons, summary={**self.summary, **summary})

    def __repr__(self) -> str:
        number = self.summary
        tests = "observed, not tested"
        if self.tested:
            one_sided = (f"{number[f'confident_{state}']} of {number[state]} {state}" for state in ONE_SIDED)
            tests = "; ".join((self.findings.changes, f"significant: {', '.join(one_sided)}"))
        counts = ", ".join(f"{number[state]} {state}" for state in STATES)
        stages = f"{self.before.stage!r} -> {self.after.stage!r}"
        weights = ", same weights" if self.same_model else ""
        return f"Comparison({stages}, {self.feature_type!r}{weights}: {counts}; {tests})"

    def _repr_html_(self) -> str:
        sentences = self.findings.sentences(self.before.stage, self.after.stage)
        distance = shown_distance(self)
        compared = distance.rows(self.neurons)
        if len(compared):
            sentences.append(f"Of {len(compared):,} shared neurons: {distance.average(compared, 'mean')}.")
        if self.tested:
            sentences.append(f"The layer as a whole: {CORRECTED} {corrected_words(self.summary)}.")
            sentences.append(pairing_sentence(self.summary))
        table = most_changed_html(self.neurons, (self.before, self.after), distance, self.fdr)
        title = f"{self.before.stage} → {self.after.stage} (layer {self.layer}, {self.feature_type})"
        return card(title, sentences, table)

    def changed(self, *, words: int = 4) -> pl.DataFrame:
        """Return the neurons that changed significantly, those that moved farthest for sure first.

        Args:
            words: maximum number of most distinctive features per neuron and stage.

        Returns:
            Columns neuron, state (tested), hellinger_corrected with its interval, q_value and z_score (null for neurons
            in use in one stage only), wins_before, wins_after, the lists of features words_before, words_after, and
            whether these predict the neuron's wins on other documents, stable_before, stable_after (null if that cannot
            be scored, see `Preferences.names`).

        Raises:
            UsageError: the comparison is untested.
        """
        if self.fdr is None:
            raise UsageError("changed: the comparison is untested; test it first, with comparison.test()")
        return changed_table(self.neurons, (self.before, self.after), self.fdr, words)

    def neuron(self, number: int) -> NeuronChange:
        """Return what one neuron prefers in both stages, and whether that changed significantly.

        Args:
            number: index of the neuron in its layer, from 0.

        Raises:
            UsageError: there is no such neuron.

        Example:
            >>> comparison.neuron(13).words[1].head(3)
        """
        return NeuronChange.of(self, number)

    def plot(self, figure: str = "hellinger_length") -> go.Figure:
        """Draw the comparison.

        Args:
            figure: a function of `txray.plots`: `hellinger_length`, `volcano`, `states`, `length_shift`,
                `gained_table`, `most_changed_neurons` or `least_changed_neurons`.

        Raises:
            UnknownNameError: an unknown figure.
            UsageError: the figure needs tests, or parts of speech, and there are none.
        """
        from txray import plots

        name = figure_name(figure, _FIGURES)
        draw: Callable[..., go.Figure] = getattr(plots, name)
        if name not in _CHANGED_NEURONS:
            return draw(self)
        tagged = require_tagged(self.tagged, f"figure {name!r}")
        pos = compare(*tagged, layer=self.layer, feature_type="pos", weight=self.weight, permutations=0)
        return draw(self, pos=pos, token_tags=token_tags(tagged))

    def _contents(self) -> dict[str, Any]:
        stages = self.tagged or (stage_of(self.before), stage_of(self.after))
        return {
            "tables": {"neurons": self.neurons},
            "stages": dict(zip(("before", "after"), stages, strict=True)),
            "settings": {"layer": self.layer, "feature_type": self.feature_type, **stored_settings(self)},
        }

    @classmethod
    def _loaded(cls, folder: ResultFolder) -> Comparison:
        stages = folder.stage("before"), folder.stage("after")
        return restored(stages, folder.table("neurons"), folder.summary, folder.settings)


def stored_settings(comparison: Comparison) -> dict[str, Any]:
    """Return what a saved comparison needs besides stages, names, neurons and summary, as plain JSON values."""
    return {
        "weight": comparison.weight,
        "same_documents": comparison.same_documents,
        "same_model": comparison.same_model,
        "tagged": comparison.tagged is not None,
    }


def restored(
    stages: tuple[Stage, Stage],
    neurons: pl.DataFrame,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Comparison:
    """Return a saved comparison of two stages, from its table and summary, its layer and type, and `stored_settings`.

    Raises:
        ValueError: the table does not fit the stages.
    """
    layer, feature_type = settings["layer"], settings["feature_type"]
    before, after = (stage.preferences(layer=layer, feature_type=feature_type) for stage in stages)
    if not before.n_neurons == after.n_neurons == len(neurons):
        raise ValueError(f"{len(neurons)} neurons in the table, {after.n_neurons} in the stages")
    return Comparison(
        before,
        after,
        settings["weight"],
        neurons,
        summary,
        settings["same_documents"],
        settings.get("same_model"),  # not in folders of earlier versions
        tagged_stages(*stages, layer) if settings["tagged"] else None,
    )


@checked_call
def compare(
    before: StageLike | Preferences,
    after: StageLike | Preferences,
    *,
    layer: str | None = None,
    feature_type: str = "token",
    weight: Weight = "mean",
    distance: Distance = "hellinger",
    permutations: int = 10_000,
    fdr: float = 0.05,
    seed: int = 0,
    statistic: TestStatistic | None = None,
    text_matched: bool | None = None,
    min_effect: float = 0.0,
) -> Comparison:
    """Compare two stages neuron by neuron, and test which changes are significant.

    Args:
        before: the earlier stage: in memory, its folder, or its preferences.
        after: the later one, of the same neurons.
        layer: required only if the stages have several layers.
        feature_type: the feature type (of stages).
        weight: what the preference distributions normalise; in the paper, `mean`.
        distance: the distance to test: `hellinger`, `jensen-shannon` or `total-variation`.
        permutations: maximum number of permutations per neuron; 0 leaves the comparison untested, which takes a
            fraction of the time (see `Comparison.test`).
        fdr: false discovery rate of the tests.
        seed: random seed of the tests.
        statistic: what the p-values are of, `chi-square` or `distance`; None chooses, see `Comparison.test`.
        text_matched: whether to test at equal text; by default (None), if the stages read different texts. Then the
            occurrences of each feature are thinned to the smaller number.
        min_effect: corrected Hellinger distance that a change must exceed; see `Comparison.test`.

    Raises:
        UnknownNameError: an unknown layer, feature type, weight, distance or statistic.
        ShapeError: the two do not hold the same neurons, feature type or selection.
        UsageError: stages that cannot be tested, or a number out of range.

    Example:
        >>> comparison = compare(zero_shot, sup)
        >>> comparison.changed().head(3)

    Source:
        Rethmeier et al. 2020, section 2.
    """
    require_distance(distance)
    if min_effect and not permutations:
        raise UsageError(
            f"compare: min_effect={min_effect} with permutations=0; allow permutations, or leave it out"
        )
    if permutations < 0:
        raise UsageError(f"compare: permutations={permutations}; pass a positive number, or 0 for no tests")
    of_test: dict[str, Any] = {"text_matched": text_matched, "min_effect": min_effect, "statistic": statistic}
    settings = SignificanceSettings(distance, permutations, fdr, seed, **of_test) if permutations else None
    sides = subject(before), subject(after)
    p, q = (preferences_of(side, layer, feature_type) for side in sides)
    require_comparable(p, q)
    neurons, one_model = neuron_table(p, q, weight), same_model(*sides, p.layer)
    comparison = Comparison(
        p,
        q,
        weight,
        neurons,
        {**summary_of(p, q, weight, neurons), **text_facts(*sides), "same_model": one_model},
        same_documents(*sides),
        one_model,
        tagged_stages(*sides, p.layer) if p.feature_type == "token" else None,
    )
    return comparison if settings is None else comparison.tested_with(settings)
