"""Two compared stages and the filters of a page: the data of all its figures and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis import Findings
from txray.analysis.shown_distance import PLAIN, ShownDistance, matched_distance
from txray.analysis.subjects import only_text
from txray.errors import UnknownNameError
from txray.plots.frame import feature_noun
from txray.plots.text import count, plural, sanitize
from txray.plots.theme import StageStyle, stage_styles
from txray.preferences import StageFolder
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.results import TestedPair
from txray.web.dashboard.url_state import UrlState


@dataclass(frozen=True, eq=False)
class FilteredComparison:
    """Two compared stages and the neurons that pass the filters.

    Attributes:
        view: URL state with the filters; its stages and feature type exist.
        store: for everything else that figures need.
        before, after: the stages.
        pair: the comparison, tested as far as that is done.
        styles: of all stages.
    """

    view: UrlState
    store: ResultStore
    before: StageFolder
    after: StageFolder
    pair: TestedPair
    styles: Mapping[str, StageStyle]

    @classmethod
    def of(cls, view: UrlState, store: ResultStore) -> FilteredComparison:
        """Compare the stages that a URL names.

        Raises:
            JobPending: the stages are being read or compared.
            TxrayError: they cannot be compared, or they do not share the layer.
        """
        before, after = store.catalog[view.before], store.catalog[view.after]
        pair = store.pair(before, after, view.feature_type, view.layer)
        if view.layer and view.layer not in pair.layers:
            raise UnknownNameError.of("layer of both stages", view.layer, pair.layers)
        # All figures, the table and the controls of a page share one instance, so it is cached.
        filters = (view.feature_type, view.layer, view.states, view.ranges, view.prefers, view.top)
        return store.memoize(
            # A stage that was opened again may give the same pair, but the former folder can no longer be read.
            ("filtered", id(pair), id(before), id(after), filters),
            lambda: cls(view, store, before, after, pair, stage_styles(store.catalog.names)),
            # Rows are copied, once or twice, if some are left out.
            lambda filtered: (
                2 * int(pair.neurons.estimated_size()) if filtered.view.is_filtered or view.layer else 1 << 20
            ),
        )

    @property
    def noun(self) -> str:
        """Name of one feature: token, tag ..."""
        return feature_noun(self.view.feature_type)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are shown."""
        return (self.view.layer,) if self.view.layer else self.pair.layers

    @property
    def tested(self) -> bool:
        """True if all of these layers are tested."""
        return set(self.layers) <= set(self.pair.tested)

    @property
    def distance(self) -> ShownDistance:
        """The distance that figures show: at equal numbers of wins once all of these layers are tested."""
        return matched_distance("hellinger") if self.tested else PLAIN

    @cached_property
    def neurons(self) -> pl.DataFrame:
        """The rows of `pair.neurons` in these layers, with `distance` (as shown) and `picked` (passes the filters)."""
        table = self.pair.neurons
        rows = table if not self.view.layer else table.filter(pl.col("layer") == self.view.layer)
        rows = rows.with_columns(distance=pl.col(self.distance.column))
        return rows.with_columns(
            picked=pl.lit(value=True) if not self.view.is_filtered else self._picked(rows)
        )

    @cached_property
    def findings(self) -> Findings:
        """Counts of all neurons of these layers, whatever the other filters."""
        return Findings.of(
            self.neurons,
            self.store.config.tested_fdr,
            pending=self.pair.pending,
            only_text=only_text(self.before, self.after, self.layers),
        )

    @property
    def observed(self) -> bool:
        """True if states are the observed ones, because nothing of the pair is or will be tested."""
        return not self.pair.tested and not self.pair.pending

    @cached_property
    def shared(self) -> pl.DataFrame:
        """The rows of `neurons` that are in use in both stages."""
        return self.neurons.filter(pl.col("state") == "shared")

    @cached_property
    def picked(self) -> pl.DataFrame:
        """The rows of `neurons` that pass the filters."""
        return self.neurons.filter("picked") if self.view.is_filtered else self.neurons

    def _picked(self, rows: pl.DataFrame) -> pl.Series:
        view = self.view
        conditions = [pl.col("neuron").is_not_null()]
        if view.states:
            conditions.append(pl.col("shown").cast(pl.String).is_in(view.states))
        for bounds in view.ranges:
            if bounds.low is not None:
                conditions.append(pl.col(bounds.column) >= bounds.low)
            if bounds.high is not None:
                conditions.append(pl.col(bounds.column) <= bounds.high)
        passed = pl.all_horizontal(conditions).fill_null(value=False)
        mask = rows.select(picked=passed)["picked"].to_numpy().copy()
        if view.prefers:
            mask &= self._prefers(rows, view.prefers)
        if view.top:
            mask &= self._top(rows, view.top)
        return pl.Series(mask)

    def _prefers(self, rows: pl.DataFrame, feature: str) -> NDArray[np.bool_]:
        before, after = (
            self.store.prefers(stage, self.view.feature_type, feature)[stage_rows(stage, rows)]
            for stage in (self.before, self.after)
        )
        return before | after

    def _top(self, rows: pl.DataFrame, tag: str) -> NDArray[np.bool_]:
        """Return where most of the mass falls on a tag: after, or before where a neuron is unused after."""
        before, after = (
            self.store.dominant_features(stage, "pos").gather(stage_rows(stage, rows))
            for stage in (self.before, self.after)
        )
        return (after.fill_null(before) == tag).fill_null(value=False).to_numpy()

    @property
    def caption(self) -> str:
        """The origin of the numbers, as plain text."""
        layers = sanitize(self.layers[0]) if len(self.layers) == 1 else f"{count(len(self.layers))} layers"
        parts = [
            f"stages {sanitize(self.before.name)}, {sanitize(self.after.name)}",
            layers if len(self.layers) > 1 else f"layer {layers}",
            f"feature type {sanitize(self.view.feature_type)}",
            f"selection {self.after.manifest['selections'][self.layers[0]]}",
            f"weight {self.store.config.weight}",
        ]
        if not self.tested:
            parts.append(self.findings.progress)
        if self.view.is_filtered:
            parts.append(f"{count(len(self.picked))} of {plural(len(self.neurons), 'neuron')} selected")
        return " · ".join(parts)


def stage_rows(stage: StageFolder, rows: pl.DataFrame) -> NDArray[np.int64]:
    """Return (n_rows,) the row of each neuron, given sorted by layer, among all neurons of a stage, layer by layer."""
    runs = rows["layer"].rle()
    starts = [stage.starts[layer] for layer in runs.struct.field("value")]
    return np.asarray(
        np.repeat(starts, runs.struct.field("len").to_numpy()) + rows["neuron"].to_numpy(), np.int64
    )
