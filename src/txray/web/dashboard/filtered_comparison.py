"""What all panels of a page draw from: two stages compared, and which neurons are picked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis import Findings
from txray.analysis.shown_distance import PLAIN, ShownDistance, matched_distance
from txray.errors import UnknownNameError
from txray.plots.frame import feature_noun
from txray.plots.text import count, plural, visible
from txray.plots.theme import StageStyle, stage_styles
from txray.preferences import StageFolder
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import TestedPair
from txray.web.dashboard.url_state import UrlState


@dataclass(frozen=True, eq=False)
class FilteredComparison:
    """A view of a pair of stages.

    Attributes:
        view: what is looked at, whatever the page and the order of its table; stages and feature type exist.
        desk: for everything else that panels need.
        before, after: the stages.
        pair: compared, and tested as far as that is done.
        styles: of all stages.
    """

    view: UrlState
    desk: ResultStore
    before: StageFolder
    after: StageFolder
    pair: TestedPair
    styles: Mapping[str, StageStyle]

    @classmethod
    def of(cls, view: UrlState, desk: ResultStore) -> FilteredComparison:
        """Look up what a view names.

        Raises:
            NotReady: the stages are being read or compared.
            TxrayError: they cannot be; or a layer that they do not have in common.
        """
        before, after = desk.library[view.before], desk.library[view.after]
        pair = desk.pair(before, after, view.feature, view.layer)
        if view.layer and view.layer not in pair.layers:
            raise UnknownNameError.of("layer of both stages", view.layer, pair.layers)
        # All pictures of a page, its table and its controls ask for the same scene.
        seen = (view.feature, view.layer, view.states, view.ranges, view.prefers, view.top)
        return desk.kept(
            # A stage that was opened again may still make the same pair; results of the former one cannot be read.
            ("scene", id(pair), id(before), id(after), seen),
            lambda: cls(view, desk, before, after, pair, stage_styles(desk.library.names)),
            # Its rows are copied where some are left out, once or twice.
            lambda scene: (
                2 * int(pair.neurons.estimated_size()) if scene.view.filtered or view.layer else 1 << 20
            ),
        )

    @property
    def noun(self) -> str:
        """What one feature is called."""
        return feature_noun(self.view.feature)

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that are looked at."""
        return (self.view.layer,) if self.view.layer else self.pair.layers

    @property
    def tested(self) -> bool:
        """Whether all of these layers have been tested."""
        return set(self.layers) <= set(self.pair.tested)

    @property
    def distance(self) -> ShownDistance:
        """The distance that pictures show: at equal numbers of wins once all of these layers have been tested."""
        return matched_distance("hellinger") if self.tested else PLAIN

    @cached_property
    def neurons(self) -> pl.DataFrame:
        """One row per neuron of the layers that are looked at: `pair.neurons`, `distance` (as drawn), `picked`."""
        table = self.pair.neurons
        rows = table if not self.view.layer else table.filter(pl.col("layer") == self.view.layer)
        rows = rows.with_columns(distance=pl.col(self.distance.column))
        return rows.with_columns(picked=pl.lit(value=True) if not self.view.filtered else self._picked(rows))

    @cached_property
    def findings(self) -> Findings:
        """Counts of all neurons of these layers, whatever the other filters leave."""
        return Findings.of(self.neurons, self.desk.choices.fdr, pending=self.pair.pending)

    @property
    def observed(self) -> bool:
        """Whether states are observed ones, because nothing of the pair is or will be tested."""
        return not self.pair.tested and not self.pair.pending

    @cached_property
    def shared(self) -> pl.DataFrame:
        """The rows of `neurons` that are preferred in both stages."""
        return self.neurons.filter(pl.col("state") == "shared")

    @cached_property
    def picked(self) -> pl.DataFrame:
        """The rows of `neurons` that the view's filters leave."""
        return self.neurons.filter("picked") if self.view.filtered else self.neurons

    def _picked(self, rows: pl.DataFrame) -> pl.Series:
        view = self.view
        kept = [pl.lit(value=True)]
        if view.states:
            kept.append(pl.col("shown").cast(pl.String).is_in(view.states))
        for bounds in view.ranges:
            if bounds.low is not None:
                kept.append(pl.col(bounds.column) >= bounds.low)
            if bounds.high is not None:
                kept.append(pl.col(bounds.column) <= bounds.high)
        found = rows.select(pl.all_horizontal(kept).fill_null(value=False).alias("picked"))["picked"]
        if len(found) != len(rows):
            found = found.new_from_index(0, len(rows))
        mask = found.to_numpy().copy()
        if view.prefers:
            mask &= self._prefers(rows, view.prefers)
        if view.top:
            mask &= self._top(rows, view.top)
        return pl.Series(mask)

    def _prefers(self, rows: pl.DataFrame, feature: str) -> NDArray[np.bool_]:
        feature_type = self.view.feature
        return np.logical_or(
            *(
                self.desk.preferred(stage, feature_type, feature)[places(stage, rows)]
                for stage in (self.before, self.after)
            )
        )

    def _top(self, rows: pl.DataFrame, tag: str) -> NDArray[np.bool_]:
        """Where most of the mass falls on a tag: after, or before where a neuron fires no more."""
        digests = [self.desk.tops(stage, "pos") for stage in (self.before, self.after)]
        first, last = (
            digest.gather(places(stage, rows))
            for digest, stage in zip(digests, (self.before, self.after), strict=True)
        )
        return (last.fill_null(first) == tag).fill_null(value=False).to_numpy()

    @property
    def caption(self) -> str:
        """Where the numbers come from, as plain text."""
        layers = visible(self.layers[0]) if len(self.layers) == 1 else f"{count(len(self.layers))} layers"
        parts = [
            f"stages {visible(self.before.name)}, {visible(self.after.name)}",
            layers if len(self.layers) > 1 else f"layer {layers}",
            f"feature {visible(self.view.feature)}",
            f"selection {self.after.manifest['selections'][self.layers[0]]}",
            f"weight {self.desk.choices.weight}",
        ]
        if not self.tested:
            parts.append(self.findings.progress)
        if self.view.filtered:
            parts.append(f"{count(len(self.picked))} of {plural(len(self.neurons), 'neuron')} picked out")
        return " · ".join(parts)


def places(stage: StageFolder, rows: pl.DataFrame) -> NDArray[np.int64]:
    """(n_rows,) where each neuron stands among all neurons of a stage, layer by layer.

    Args:
        stage: that has the layers of the rows.
        rows: with columns layer and neuron, the layers standing together.
    """
    runs = rows["layer"].rle()
    offsets = [stage.starts[layer] for layer in runs.struct.field("value")]
    found = np.repeat(offsets, runs.struct.field("len").to_numpy()) + rows["neuron"].to_numpy()
    return np.asarray(found, np.int64)
