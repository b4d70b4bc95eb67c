"""One neuron of one stage: the words it prefers, their tags, and its strongest occurrences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from txray.errors import UsageError
from txray.notebook import card, table
from txray.preferences.names import name_sentence
from txray.preferences.output_tokens import PROMOTED, SUPPRESSED, output_lines, tokens_of_side
from txray.preferences.preferences import Preferences

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LISTED_WORDS, _LISTED_TAGS, _LISTED_EXEMPLARS = 10, 5, 3


@dataclass(frozen=True, eq=False)
class NeuronPreferences:
    """The preferences of one neuron of a stage, returned by `Stage.neuron`.

    Attributes:
        stage: name of the stage.
        layer: name of the layer.
        feature_type: type of the features in `words`.
        number: index of the neuron in its layer, from 0.
        wins: number of its selected activations.
        words: polars, one row per feature that it prefers, the most distinctive (highest lift) first: feature, wins
            (selected activations), lift (how many times as often as expected from the feature's frequency, see
            `txray.preferences.lift`) and mean (mean activation, in units of the layer's output).
        tags: polars, one row per part of speech, the most frequent first: tag, wins, and share of all wins; empty
            where the stage was collected without `pos`.
        exemplars: polars, its strongest occurrences, columns as in `Stage.exemplars`, the strongest first.
        promoted, suppressed: polars, the tokens whose logits its activation raises and lowers, the strongest first:
            token and effect, see `txray.output_tokens`; empty unless the stage was collected with output tokens.
        agreement: polars, its row of `Stage.output_agreement`; None if the stage was collected without output tokens or
            without the feature type `output`.
    """

    stage: str
    layer: str
    feature_type: str
    number: int
    wins: int
    words: pl.DataFrame
    tags: pl.DataFrame
    exemplars: pl.DataFrame
    promoted: pl.DataFrame
    suppressed: pl.DataFrame
    agreement: pl.DataFrame | None
    _tokens: Preferences = field(repr=False)
    _pos: Preferences | None = field(repr=False)
    _token_tags: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(
        cls,
        number: int,
        preferences: Preferences,
        *,
        pos: Preferences | None,
        exemplars: pl.DataFrame,
        token_tags: Mapping[str, str],
        output_tokens: pl.DataFrame,
        agreement: pl.DataFrame | None,
    ) -> NeuronPreferences:
        """Select one neuron from the preferences of its layer; see `StageAccess.neuron`."""
        words = distinctive_features(preferences, number)
        tags = pl.DataFrame(schema={"tag": pl.String(), "wins": pl.Int64(), "share": pl.Float64()})
        if pos is not None:
            tags = (
                pos.table(number)
                .select(tag="feature", wins="count", share=pl.col("count") / pl.col("count").sum())
                .sort(["wins", "tag"], descending=[True, False])
            )
        return cls(
            stage=preferences.stage,
            layer=preferences.layer,
            feature_type=preferences.feature_type,
            number=int(number),
            wins=int(words["wins"].sum()),
            words=words,
            tags=tags,
            exemplars=exemplars,
            promoted=tokens_of_side(output_tokens, PROMOTED),
            suppressed=tokens_of_side(output_tokens, SUPPRESSED),
            agreement=agreement,
            _tokens=preferences,
            _pos=pos,
            _token_tags=token_tags,
        )

    def __repr__(self) -> str:
        words = ", ".join(repr(word) for word in self.words["feature"].head(3))
        return (
            f"NeuronPreferences(stage={self.stage!r}, layer={self.layer!r}, number={self.number}, "
            f"{self.wins:,} wins, {len(self.words):,} features: {words or 'none'})"
        )

    def _repr_html_(self) -> str:
        sentence = (
            f"{self.wins:,} wins on {len(self.words):,} features of type {self.feature_type}."
            if self.wins
            else "It never won a word."
        )
        lines = [sentence, name_sentence(self._tokens, self.number)] if self.wins else [sentence]
        lines = [*filter(None, lines), *output_lines(self.promoted, self.suppressed, self.agreement)]
        tables = []
        if len(self.words):
            tables.append(words_table("Most distinctive words", self.feature_type, self.words))
        if len(self.tags):
            rows = self.tags.head(_LISTED_TAGS).iter_rows()
            tables.append(table("Parts of speech", ("tag", "wins", "share of wins"), rows))
        if len(self.exemplars):
            columns = ("activation", "before", "word", "after")
            rows = self.exemplars.head(_LISTED_EXEMPLARS).select(columns).iter_rows()
            tables.append(table("Strongest occurrences", columns, rows))
        return card(f"Neuron {self.number}, layer {self.layer}, stage {self.stage}", lines, *tables)

    def plot(self) -> go.Figure:
        """Draw its words over their parts of speech, as `txray.plots.neuron_detail` does.

        Raises:
            UsageError: the stage was collected without the feature types `token` and `pos`.
        """
        if self._pos is None or self.feature_type != "token":
            raise UsageError(
                f"neuron {self.number} of stage {self.stage!r}: the figure needs the feature types 'token' and 'pos'; "
                "collect the stage with both"
            )
        from txray.plots import neuron_detail

        return neuron_detail([self._tokens], self.number, pos=[self._pos], token_tags=self._token_tags)


def distinctive_features(preferences: Preferences, number: int) -> pl.DataFrame:
    """Return the features that a neuron prefers, highest lift first: feature, wins, lift, mean (activation)."""
    features = preferences.table(number).select("feature", wins="count", lift="lift", mean="mean")
    return features.sort(["lift", "feature"], descending=[True, False])


def words_table(caption: str, feature_type: str, features: pl.DataFrame) -> str:
    """Return an HTML table of the first rows of `distinctive_features`."""
    headings = (feature_type, "wins", "lift", "mean activation")
    return table(caption, headings, features.head(_LISTED_WORDS).iter_rows())
