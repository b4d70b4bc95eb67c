"""One neuron in two stages: what it prefers before and after, and whether the change is significant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from txray.analysis.neuron_exchange import exchanged_words
from txray.analysis.neuron_sentence import neuron_sentence
from txray.analysis.rules import changed_most_first, is_significant
from txray.analysis.shown_distance import CORRECTED, ShownDistance, corrected_words
from txray.analysis.subjects import require_tagged
from txray.notebook import card, table
from txray.preferences.names import name_scores
from txray.preferences.neuron import distinctive_features, words_table
from txray.preferences.preferences import Preferences, require_neuron
from txray.preferences.stage import Stage
from txray.preferences.tags import token_tags

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from txray.analysis.comparison import Comparison

_LISTED, _LISTED_WORDS = 10, 4


@dataclass(frozen=True, eq=False)
class NeuronChange:
    """One neuron of a comparison, as returned by `Comparison.neuron`.

    Attributes:
        number: index of the neuron in its layer, from 0.
        layer: name of the layer.
        feature_type: type of the features in `words`.
        stages: names of the earlier and the later stage.
        state: the tested state (one of `CONFIDENT_STATES`), or the observed one of an untested comparison.
        significant: whether the neuron changed, appeared or disappeared significantly; None without tests.
        fdr: false discovery rate of the tests; None without tests.
        values: its row of `Comparison.neurons`: column -> value.
        words: (before, after) polars, one row per feature that it prefers, the most distinctive (highest lift) first:
            feature, wins (selected activations), lift, mean (activation).
        exchanged: polars, one row per other neuron that shares words with it, the largest change first: neuron,
            taken_before and taken_after (words that the other wins, with this one next behind it), won_before and
            won_after (the other way round); empty if runner-ups are unknown, or the selection has none.
        names: (before, after) how well its most distinctive words, chosen on other documents, predict its wins; empty
            if that cannot be scored. See `Preferences.names`.
        tags: polars, one row per part of speech, most wins first: tag, wins_before, wins_after; empty if the stages
            were collected without `pos`, or preferences were compared.
        only_text: whether one model read two texts, so that only these can explain a difference.
    """

    number: int
    layer: str
    feature_type: str
    stages: tuple[str, str]
    state: str
    significant: bool | None
    fdr: float | None
    values: Mapping[str, Any]
    words: tuple[pl.DataFrame, pl.DataFrame]
    names: tuple[str, str]
    tags: pl.DataFrame
    exchanged: pl.DataFrame
    only_text: bool
    _tagged: tuple[Stage, Stage] | None = field(repr=False)

    @classmethod
    def of(cls, comparison: Comparison, number: int) -> NeuronChange:
        """Select one neuron of a comparison; see `Comparison.neuron`."""
        before, after, fdr = comparison.before, comparison.after, comparison.fdr
        require_neuron(number, len(comparison.neurons), stage=after.stage, layer=after.layer)
        row = comparison.neurons[int(number)]
        values = row.row(0, named=True)
        return cls(
            int(number),
            after.layer,
            after.feature_type,
            (before.stage, after.stage),
            str(values.get("confident_state") or values["state"]),
            None if fdr is None else bool(row.select(is_significant(fdr)).item()),
            fdr,
            values,
            (distinctive_features(before, number), distinctive_features(after, number)),
            (name_scores(before, [number]).facts[0], name_scores(after, [number]).facts[0]),
            _tags(number, after.layer, comparison.tagged),
            exchanged_words(before, after, int(number)),
            comparison.only_text,
            comparison.tagged,
        )

    @property
    def sentence(self) -> str:
        """Return what happened to the neuron, in words; see `neuron_sentence`."""
        row = {**self.values, "significant": self.significant}
        return neuron_sentence(row, self.feature_type, self.stages, self.fdr, only_text=self.only_text)

    def __repr__(self) -> str:
        before, after = (", ".join(map(repr, words["feature"].head(3))) or "nothing" for words in self.words)
        return f"NeuronChange({self.number}, layer={self.layer!r}, {self.state}: {before} -> {after})"

    def _repr_html_(self) -> str:
        tables = [
            words_table(f"Most distinctive words in {stage}", self.feature_type, words)
            for stage, words in zip(self.stages, self.words, strict=True)
            if len(words)
        ]
        if len(self.tags):
            headings = ("tag", *(f"wins in {stage}" for stage in self.stages))
            tables.append(table("Parts of speech", headings, self.tags.head(_LISTED).iter_rows()))
        if len(self.exchanged):
            stages = [f"{verb} in {stage}" for verb in ("loses", "wins") for stage in self.stages]
            headings = ("other neuron", *stages)
            rows = self.exchanged.head(_LISTED).iter_rows()
            tables.append(table("Words that it loses to another neuron, or wins from it", headings, rows))
        title = f"Neuron {self.number}, layer {self.layer}: {self.stages[0]} → {self.stages[1]}"
        names = [
            f"Most distinctive words in {stage}, chosen on other documents: {facts}."
            for stage, facts in zip(self.stages, self.names, strict=True)
            if facts
        ]
        return card(title, [self.sentence, *names], *tables)

    def plot(self) -> go.Figure:
        """Draw its words over their parts of speech in both stages, as `txray.plots.neuron_detail` does.

        Raises:
            UsageError: the stages have no parts of speech, or tokens were not compared.
        """
        tagged = require_tagged(self._tagged, f"figure of neuron {self.number}")
        from txray.plots import neuron_detail

        tokens, pos = (
            [stage.preferences(layer=self.layer, feature_type=name) for stage in tagged]
            for name in ("token", "pos")
        )
        return neuron_detail(tokens, self.number, pos=pos, token_tags=token_tags(tagged))


def most_changed_html(
    neurons: pl.DataFrame, sides: tuple[Preferences, Preferences], distance: ShownDistance, fdr: float | None
) -> str:
    """Return an HTML table of the neurons that changed most, with their most distinctive words; empty without any.

    Args:
        neurons: rows of `Comparison.neurons`.
        sides: preferences before and after.
        distance: the distance to show.
        fdr: false discovery rate of the tests; None if there are none.
    """
    shared = neurons.filter(pl.col("state") == "shared")
    changed = shared[changed_most_first(shared, fdr).head(_LISTED)]
    columns = {"neuron": "neuron", distance.column: distance.name}
    if distance.null is not None:
        columns |= {distance.null: "if nothing had changed", "q_value": "q-value"}
    headings, rows = list(columns.values()), [list(row) for row in changed.select(*columns).iter_rows()]
    if fdr is not None:
        headings.insert(1, f"{CORRECTED} (95% interval)")
        for row, values in zip(rows, changed.iter_rows(named=True), strict=True):
            row.insert(1, corrected_words(values))
    for side in sides:
        headings.append(f"in {side.stage}")
        words = distinctive_words(side, changed["neuron"], _LISTED_WORDS)
        notes = dict(
            zip(changed["neuron"], name_scores(side, changed["neuron"].to_numpy()).notes, strict=True)
        )
        for row in rows:
            row.append(notes[row[0]] or " · ".join(words[row[0]]))
    return (
        table("Neurons that changed most, and their most distinctive words", headings, rows) if rows else ""
    )


def changed_table(
    neurons: pl.DataFrame, sides: tuple[Preferences, Preferences], fdr: float, limit: int
) -> pl.DataFrame:
    """Return the table `Comparison.changed`, with up to `limit` features per neuron and stage."""
    rows = neurons.filter(is_significant(fdr))
    rows = rows[changed_most_first(rows, fdr)]
    lists = {
        f"words_{name}": pl.Series(
            list(distinctive_words(side, rows["neuron"], limit).values()), dtype=pl.List(pl.String)
        )
        for name, side in zip(("before", "after"), sides, strict=True)
    }
    for name, side in zip(("before", "after"), sides, strict=True):
        scores = name_scores(side, rows["neuron"].to_numpy(), words=limit)
        lists[f"stable_{name}"] = pl.Series(scores.stable).set(pl.Series(np.isnan(scores.p_value)), None)
    intervals = ("hellinger_corrected", "hellinger_corrected_low", "hellinger_corrected_high")
    state = pl.col("confident_state").alias("state")
    columns = ("neuron", state, *intervals, "q_value", "z_score", "wins_before", "wins_after")
    return rows.select(columns).with_columns(**lists)


def distinctive_words(preferences: Preferences, neurons: Iterable[int], limit: int) -> dict[int, list[str]]:
    """Return neuron -> up to `limit` most distinctive features, in descending order of lift."""
    totals, lifts = preferences.totals, preferences.lift()
    words = {}
    for neuron in neurons:
        start, end = np.searchsorted(totals.neuron, (neuron, neuron + 1))
        rows = start + np.argsort(-lifts[start:end], kind="stable")[:limit]
        words[neuron] = preferences.features[totals.feature_id[rows]].tolist()
    return words


def _tags(number: int, layer: str, tagged: tuple[Stage, Stage] | None) -> pl.DataFrame:
    schema = {"tag": pl.String(), "wins_before": pl.Int64(), "wins_after": pl.Int64()}
    if tagged is None:
        return pl.DataFrame(schema=schema)
    before, after = (
        stage.preferences(layer=layer, feature_type="pos").table(number).select(tag="feature", wins="count")
        for stage in tagged
    )
    wins = before.join(after, on="tag", how="full", coalesce=True, suffix="_after")
    wins = wins.select("tag", wins_before="wins", wins_after="wins_after").fill_null(0).cast(schema)  # type: ignore[arg-type]
    return wins.sort([pl.col("wins_before") + pl.col("wins_after"), "tag"], descending=[True, False])
