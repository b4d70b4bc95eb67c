"""The findings of a comparison: counts of states and changes, and the sentences that report them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from txray.analysis.rules import (
    is_changed,
    is_displaced,
    is_tested,
    size_of_change,
    tested_state,
)
from txray.analysis.shown_distance import corrected_words, power_words
from txray.analysis.states import (
    DISPLACED,
    NOT_SIGNIFICANT,
    ONE_SIDED,
    SAME_WEIGHTS,
    STATE_NAMES,
    change_label,
    test_label,
    untested_label,
)
from txray.text import plural

MEDIAN, MEDIAN_CHANGED = "median_corrected", "median_corrected_changed"
"""Names of the median corrected distances in `Findings.sizes`."""


@dataclass(frozen=True)
class Findings:
    """Counts of a comparison, and the sentences that report them.

    Attributes:
        fdr: false discovery rate of the tests; None if there are none.
        observed: observed state -> neurons, over all layers.
        observed_tested: observed state -> neurons, over the layers whose tests are done.
        states: tested state -> neurons (`SHOWN_STATES`); empty if nothing is tested.
        tested: shared neurons that are active enough for a test.
        changed: how many of these changed significantly.
        layers: number of layers.
        tested_layers: number of layers whose tests are done.
        pending: whether the other layers are going to be tested.
        displaced_by: neuron -> number of displaced neurons that it explains, most first; empty for several layers.
        text_matched: whether the tests are at equal text.
        min_effect: corrected distance that a change had to exceed; 0 if any change counts.
        sizes: how far tested neurons moved, and would have had to: see `rules.size_of_change`; empty without tests.
        only_text: whether one model read two texts, so that only these can explain differences.
        family_size: largest number of tests over which q-values were adjusted together; 0 if unknown.
        tested_of_layer: largest number of tested neurons of a layer.
    """

    fdr: float | None
    observed: Mapping[str, int]
    observed_tested: Mapping[str, int]
    states: Mapping[str, int]
    tested: int
    changed: int
    layers: int
    tested_layers: int
    pending: bool
    text_matched: bool = False
    min_effect: float = 0.0
    sizes: Mapping[str, float | None] = field(default_factory=dict)
    displaced_by: Mapping[int, int] = field(default_factory=dict)
    only_text: bool = False
    family_size: int = 0
    tested_of_layer: int = 0

    @classmethod
    def of(
        cls, neurons: pl.DataFrame, fdr: float | None, *, pending: bool = False, only_text: bool = False
    ) -> Findings:
        """Count the neurons of a comparison.

        Args:
            neurons: rows of `Comparison.neurons`, of several layers if there is a column `layer`; without the columns
                of the tests, or with nulls in them, nothing or not everything is tested.
            fdr: false discovery rate of the tests; None if there are none.
            pending: whether what is untested is going to be tested.
            only_text: whether one model read two texts.
        """
        several = "layer" in neurons.columns
        layers = neurons["layer"].n_unique() if several else 1
        observed = _counts(neurons["state"])
        rows = neurons.filter(is_tested()) if "confident_state" in neurons.columns else neurons.clear()
        if fdr is None or not len(rows):
            return cls(
                fdr, observed, {}, {}, 0, 0, layers, 0, pending and len(neurons) > 0, only_text=only_text
            )
        tried = rows.filter(pl.col("q_value").is_not_null())
        return cls(
            fdr,
            observed,
            _counts(rows["state"]),
            _counts(neurons.select(tested_state())["confident_state"]),
            len(tried),
            tried.filter(is_changed(fdr)).height,
            layers,
            rows["layer"].n_unique() if several else 1,
            pending and len(rows) < len(neurons),
            "text_matched" in rows.columns and bool(rows["text_matched"].any()),
            float(rows["min_effect"].max() or 0) if "min_effect" in rows.columns else 0.0,  # type: ignore[arg-type]
            size_of_change(rows, fdr),
            {} if several else _displacers(rows),
            only_text,
            int(rows["family_size"].to_numpy().max()) if "family_size" in rows.columns else 0,
            int(tried["layer"].value_counts()["count"].to_numpy().max(initial=0)) if several else len(tried),
        )

    @property
    def neurons(self) -> int:
        """Return the number of neurons."""
        return sum(self.observed.values())

    @property
    def untested(self) -> int:
        """Return the number of neurons whose tests are not done."""
        return self.neurons - sum(self.observed_tested.values())

    @property
    def finished(self) -> bool:
        """Return whether all layers are tested."""
        return self.tested_layers > 0 and self.untested == 0

    @property
    def progress(self) -> str:
        """Return how much is tested, in words; empty if everything is."""
        if self.finished:
            return ""
        if not self.tested_layers:
            return untested_label(self.pending)
        return f"{self.tested_layers:,} of {self.layers:,} layers tested" + (
            " so far" if self.pending else ""
        )

    @property
    def changed_how(self) -> str:
        """Return what significant neurons did: `changed significantly`, or `changed by at least 0.2`."""
        if not self.only_text:
            return change_label(self.min_effect)
        size = f"by at least {self.min_effect:g}" if self.min_effect else "significantly"
        return f"{'differs' if self.changed == 1 else 'differ'} {size} between the texts"

    @property
    def changes(self) -> str:
        """Return how many tested neurons changed and how far, in words; `observed, not tested` if nothing is tested."""
        if not self.tested_layers or self.fdr is None:
            return f"observed, {self.progress}"
        if not self.tested:
            return "no neuron in both stages is active enough to be tested"
        return f"{self.changed_words}{self._size_of_tested}{self._displaced}"

    @property
    def changed_words(self) -> str:
        """Return how many tested neurons changed and how far these moved; if none did, what could have been found."""
        if not self.tested_layers or self.fdr is None or not self.tested:
            return self.changes
        label = test_label(self.fdr, text_matched=self.text_matched)
        label += ", same weights" if self.only_text else ""
        tested = plural(self.tested, "tested neuron")
        count = f"{self.changed:,} of {tested} in both stages {self.changed_how} ({label})"
        return f"{count}{self._size_of_changed}" if self.changed else f"{count}; {self.power}"

    @property
    def _size_of_changed(self) -> str:
        """Return how far the neurons moved that changed, to append to their number."""
        if not self.changed or self.sizes.get(MEDIAN_CHANGED) is None:
            return ""
        return f", by {corrected_words(self.sizes, MEDIAN_CHANGED)} in the median"

    @property
    def _size_of_tested(self) -> str:
        """Return how far all tested neurons moved, to append to how many changed."""
        known = self.sizes.get(MEDIAN) is not None
        return f"; median of all tested {corrected_words(self.sizes, MEDIAN)}" if known else ""

    @property
    def power(self) -> str:
        """Return which changes would have been found, in words; empty if nothing is tested."""
        return power_words(self.sizes.get("median_detectable"), self.min_effect) if self.tested else ""

    @property
    def _displaced(self) -> str:
        """Return how many neurons are displaced, to append to how many changed."""
        return f"; {self.displacement}" if self.displacement else ""

    @property
    def displacement(self) -> str:
        """Return how many neurons are displaced, and by which, in words: `18 displaced, 12 of them by neuron 7`."""
        number = self.states.get(DISPLACED, 0)
        text = f"{number:,} {DISPLACED}"
        if not number or not self.displaced_by:
            return text if number else ""
        neuron, explained = next(iter(self.displaced_by.items()))
        if explained == number:
            return f"{text} by neuron {neuron}"
        return f"{text}, {explained:,} of them by neuron {neuron}"

    @property
    def one_sided(self) -> str:
        """Return how many neurons are in use only before and only after, and how many of these significantly."""
        return "; ".join(map(self.of_state, ONE_SIDED))

    def of_state(self, state: str, *, paper_name: bool = False) -> str:
        """Return how many neurons are in use in one stage only, in words: `6 only before, 1 of them significant`.

        Args:
            state: `avoided` or `gained`.
            paper_name: whether to add the paper's word: `6 only before (avoided), 1 of them significant`.
        """
        words = f"{STATE_NAMES[state]} ({state})" if paper_name else STATE_NAMES[state]
        if not self.tested_layers:
            return f"{self.observed.get(state, 0):,} {words}"
        number, significant = self.observed_tested.get(state, 0), self.states.get(state, 0)
        if number == 0:
            return f"0 {words}"
        if number == 1:
            return f"1 {words}, {'significant' if significant else NOT_SIGNIFICANT}"
        return f"{number:,} {words}, {f'{significant:,}' if significant else 'none'} of them significant"

    @property
    def headline(self) -> str:
        """Return the result of the tests as a sentence without its full stop; empty if nothing is tested."""
        if not self.tested_layers or self.fdr is None:
            return ""
        if not self.tested:
            return "No neuron in both stages is active enough to be tested"
        text = ", text-matched" if self.text_matched else ""
        return (
            f"At a false discovery rate (FDR) of {100 * self.fdr:g}%{text}, {self.changed:,} of "
            f"{plural(self.tested, 'tested neuron')} {self.changed_how}"
            f"{self._size_of_changed}{self._size_of_tested}"
        )

    def sentences(self, before: str, after: str) -> list[str]:
        """Return what was observed, then what is significant, then what is not tested yet.

        Args:
            before, after: names of the stages to show.
        """
        weights = [SAME_WEIGHTS] if self.only_text else []
        return [self._observation(before, after), *self._tests(), *weights]

    def _observation(self, before: str, after: str) -> str:
        shared, verb = self.observed.get("shared", 0), "is" if self.observed.get("shared", 0) < 2 else "are"
        neurons = plural(self.neurons, "neuron")
        text = (
            f"{f'{shared:,}' if shared else 'none'} of {neurons} {verb} in use in both {before} and {after}"
        )
        if self.finished:
            return f"{text[0].upper()}{text[1:]}."
        where = f" in all {self.layers:,} layers" if self.tested_layers else f", {self.progress}"
        one_sided = (f"{self.observed.get(state, 0):,}" for state in ONE_SIDED)
        return "Observed{}: {}, {} only before (avoided), {} only after (gained).".format(
            where, text, *one_sided
        )

    def _tests(self) -> list[str]:
        if not self.tested_layers:
            where = "layer by layer" if self.layers > 1 else "when the test is done"
            return [f"Significance appears here {where}."] if self.pending else []
        one_sided = "; ".join(self.of_state(state, paper_name=True) for state in ONE_SIDED)
        headline = self.headline
        if not self.finished:
            headline = f"{self.progress}: {headline[0].lower()}{headline[1:]}"
        power = f"{self.power[0].upper()}{self.power[1:]}." if self.power else ""
        sentences = [*filter(None, (f"{headline}.", power)), f"{one_sided}."]
        if self.displacement:
            sentences.append(
                f"Not counted as changed: {self.displacement}, because the words that another neuron took or gave "
                "explain their change."
            )
        if not self.finished:
            missing = self.layers - self.tested_layers
            verb = "is" if self.untested == 1 else "are"
            untested = f"{plural(self.untested, 'neuron')} of {plural(missing, 'layer')}"
            sentences.append(f"{untested} {verb} {untested_label(self.pending)}.")
        if self.layers > 1:
            over = f"over the {self.family_size:,} tests of all layers and steps"
            sentences.append(
                f"The FDR is controlled {over if self.family_size > self.tested_of_layer else 'within each layer'}."
            )
        return sentences


def _displacers(rows: pl.DataFrame) -> dict[int, int]:
    """Return neuron -> number of displaced neurons that it explains, most first."""
    if "displaced_by" not in rows.columns:
        return {}
    counts = rows.filter(is_displaced())["displaced_by"].drop_nulls().value_counts()
    return dict(counts.sort(["count", "displaced_by"], descending=[True, False]).iter_rows())


def _counts(states: pl.Series) -> dict[str, int]:
    """Return the number of neurons of each state that occurs."""
    return {str(state): int(number) for state, number in states.value_counts().iter_rows()}
