"""Activation mass per POS tag against how often the tag occurs, for the picked neurons."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.plots.frequency import Shares, finding, over, traces
from txray.plots.text import plural
from txray.preferences import StageFolder
from txray.web.dashboard.figures.figure_card import FigureCard
from txray.web.dashboard.filtered_comparison import FilteredComparison, stage_rows
from txray.web.dashboard.results import TagMass

_TOP = 24


def draw(filtered: FilteredComparison) -> FigureCard:
    """Draw bars for the corpus, and marks for the mass of the picked neurons; without tags, the figure says so."""
    sides = [stage for stage in (filtered.before, filtered.after) if "pos" in stage.feature_types]
    if not sides:
        return FigureCard.empty(
            "No POS tags",
            "These stages have no POS tags. Collect them with '--feature-type token --feature-type pos'.",
        )
    tags = [filtered.store.mass_by_tag(stage) for stage in sides]
    names = sorted({name for side in tags for name in side.names})
    # By name: a stage may be compared with itself.
    shares = {
        stage.name: Shares(
            stage.name,
            over(names, side.names, side.corpus / side.corpus.sum()),
            _mass(filtered, stage, side, names),
        )
        for stage, side in zip(sides, tags, strict=True)
    }
    figure, below = traces(
        names, list(shares.values()), styles=filtered.styles, noun="tag", top=_TOP, compact=True
    )
    figure.update_layout(dragmode=False)
    return FigureCard(
        figure,
        finding(
            list(shares.values()),
            "tag",
            whose="of the selected neurons " if filtered.view.is_filtered else "",
        ),
        f"{plural(min(_TOP, len(names)), 'tag')}, the most frequent first (total variation over all {len(names)}). "
        "Click a tag to select the neurons whose mass falls mostly on it.",
        pl.DataFrame(
            {
                "tag": names,
                **{f"corpus {name}": side.corpus for name, side in shares.items()},
                **{f"mass {name}": side.mass for name, side in shares.items()},
            }
        ),
        below=below,
    )


def _mass(
    filtered: FilteredComparison, stage: StageFolder, tags: TagMass, names: list[str]
) -> NDArray[np.float64]:
    """Return the (n_names,) share of the mass of the picked neurons."""
    mask = np.zeros(sum(stage.n_neurons.values()), np.bool_)
    mask[stage_rows(stage, filtered.picked)] = True
    mass = tags.of(mask)
    total = mass.sum()
    return over(names, tags.names, np.asarray(mass / total if total else mass, np.float64))
