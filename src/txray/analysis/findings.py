"""Significance, tested states, the order of "changed most", and the sentences about them: each defined once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

STATES = ("shared", "avoided", "gained", "unpreferred")
"""Observed: preferred in both stages, only before, only after, in neither."""
CONFIDENT_STATES = (*STATES, "undecided")
"""The states, and `undecided` for neurons that may be avoided or gained by chance, or merely rarer."""
UNTESTED = "untested"
"""State of a neuron whose tests are not done, whatever was observed of it."""
SHOWN_STATES = (*CONFIDENT_STATES, UNTESTED)
"""The states that readers are shown where there are tests."""

STATE_NAMES: Mapping[str, str] = {
    "shared": "in both stages",
    "avoided": "only before",
    "gained": "only after",
    "unpreferred": "in neither",
    "undecided": "undecided",
}
"""State -> what readers see: in which stages the neuron is in use. Tables have the paper's words."""

NOT_SIGNIFICANT = "not significant"
NOT_YET_TESTED, NOT_TESTED = "not yet tested", "not tested"

_ONE_SIDED = ("avoided", "gained")


def is_significant(fdr: float) -> pl.Expr:
    """Return whether a neuron changed, disappeared or appeared significantly; False, not null, where untested.

    Args:
        fdr: false discovery rate of the tests.
    """
    one_sided = pl.col("confident_state").cast(pl.String).is_in(_ONE_SIDED).fill_null(value=False)
    return q_value_is_significant(fdr) | one_sided


def q_value_is_significant(fdr: float) -> pl.Expr:
    """Return whether the column `q_value` of any table is significant; False, not null, where there is no value.

    Args:
        fdr: false discovery rate of the tests.
    """
    return (pl.col("q_value") <= fdr).fill_null(value=False)


def is_tested() -> pl.Expr:
    """Return whether the tests of a neuron's layer are done."""
    return pl.col("confident_state").is_not_null()


def confident_state(fdr: float) -> pl.Expr:
    """Return the column `confident_state`: the observed state, `undecided` if it may be avoided or gained by chance.

    Args:
        fdr: false discovery rate of the tests.
    """
    significant = (pl.col("rate_q_value") <= fdr) & (pl.col("absence_p_value") <= fdr)
    undecided = pl.col("state").is_in(_ONE_SIDED) & ~significant.fill_null(value=False)
    return (
        pl.when(undecided)
        .then(pl.lit("undecided"))
        .otherwise(pl.col("state").cast(pl.String))
        .cast(pl.Enum(CONFIDENT_STATES))
        .alias("confident_state")
    )


def tested_state() -> pl.Expr:
    """Return the state that readers are shown where there are tests: one of `SHOWN_STATES`, never null."""
    return pl.col("confident_state").cast(pl.Enum(SHOWN_STATES)).fill_null(pl.lit(UNTESTED))


def changed_most_first(neurons: pl.DataFrame, fdr: float | None, *, descending: bool = True) -> pl.Series:
    """Return the (n,) row numbers of neurons in the order of "changed most".

    Significant neurons come first, then untested ones, then those that are not significant; within each by z-score,
    by observed Hellinger distance, and by the larger of the two masses. Missing values come last, ties keep their
    order. The z-score, not the estimated distance, because the estimates of rarely active neurons vary most, and would
    fill the top.

    Args:
        neurons: rows of `Comparison.neurons`.
        fdr: false discovery rate of the tests; None if there are none.
        descending: largest change first; otherwise the smallest, still with significant neurons first.
    """
    keys = [(pl.col("hellinger"), descending), (pl.max_horizontal("mass_before", "mass_after"), True)]
    if fdr is not None:
        keys = [(_certainty(fdr), True), (pl.col("z_score"), descending), *keys]
    return _order(neurons, keys)


def changed_least_first(neurons: pl.DataFrame, fdr: float | None) -> pl.Series:
    """Return the (n,) row numbers of neurons in the order of "changed least".

    Neurons that are not significant come first, then by estimated squared distance, on whichever side of 0, and by
    observed Hellinger distance. Not by z-score, which is small for rarely active neurons whatever became of them.

    Args:
        neurons: rows of `Comparison.neurons`.
        fdr: false discovery rate of the tests; None if there are none.
    """
    keys = [(pl.col("hellinger"), False)]
    if fdr is not None:
        keys = [(_certainty(fdr), False), (pl.col("signal").abs(), False), *keys]
    return _order(neurons, keys)


def _certainty(fdr: float) -> pl.Expr:
    """Return 2 for significant neurons, 1 for untested ones, 0 for those that are not significant."""
    return pl.when(is_significant(fdr)).then(2).when(is_tested()).then(0).otherwise(1).cast(pl.UInt8)


def _order(neurons: pl.DataFrame, keys: list[tuple[pl.Expr, bool]]) -> pl.Series:
    by = [*(key for key, _ in keys), pl.int_range(pl.len())]
    order = pl.arg_sort_by(by, descending=[*(falling for _, falling in keys), False], nulls_last=True)
    return neurons.select(order.alias("order"))["order"]


def fdr_label(fdr: float) -> str:
    """Return a false discovery rate in words: `5% FDR`."""
    return f"{100 * fdr:g}% FDR"


def significant_label(fdr: float) -> str:
    """Return what significant neurons are called in legends: `significant (5% FDR)`."""
    return f"significant ({fdr_label(fdr)})"


def state_label(state: str, *, tested: bool, pending: bool = False) -> str:
    """Return the name of a state beside a number of neurons, so that observed and tested ones differ.

    Args:
        state: one of `SHOWN_STATES`.
        tested: whether it is a tested state.
        pending: whether untested neurons are going to be tested.
    """
    if state == UNTESTED:
        return _not_tested(pending)
    if state in _ONE_SIDED:
        return f"{STATE_NAMES[state]}, {'significant' if tested else 'observed'}"
    return STATE_NAMES[state]


def paper_label(state: str, *, tested: bool) -> str:
    """Return the name of a state with the paper's word, for legends: `only before, significant (avoided)`.

    Args:
        state: one of `CONFIDENT_STATES`.
        tested: whether it is a tested state.
    """
    label = state_label(state, tested=tested)
    return label if label == state else f"{label} ({state})"


def state_in_words(*, pending: bool = False) -> pl.Expr:
    """Return the state of each neuron in words: `only after`, or `only after, not yet tested`.

    Args:
        pending: whether untested neurons are going to be tested.
    """
    observed, tested = (
        pl.col(name).cast(pl.String).replace_strict(STATE_NAMES, return_dtype=pl.String)
        for name in ("state", "confident_state")
    )
    untested = pl.format("{}, {}", observed, pl.lit(_not_tested(pending)))
    return pl.when(is_tested()).then(tested).otherwise(untested)


def _not_tested(pending: bool) -> str:
    return NOT_YET_TESTED if pending else NOT_TESTED


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

    @classmethod
    def of(cls, neurons: pl.DataFrame, fdr: float | None, *, pending: bool = False) -> Findings:
        """Count the neurons of a comparison.

        Args:
            neurons: rows of `Comparison.neurons`, of several layers if there is a column `layer`; without the columns
                of the tests, or with nulls in them, nothing or not everything is tested.
            fdr: false discovery rate of the tests; None if there are none.
            pending: whether what is untested is going to be tested.
        """
        several = "layer" in neurons.columns
        layers = neurons["layer"].n_unique() if several else 1
        observed = _counts(neurons["state"])
        rows = neurons.filter(is_tested()) if "confident_state" in neurons.columns else neurons.clear()
        if fdr is None or not len(rows):
            return cls(fdr, observed, {}, {}, 0, 0, layers, 0, pending and len(neurons) > 0)
        tried = rows.filter(pl.col("q_value").is_not_null())
        return cls(
            fdr,
            observed,
            _counts(rows["state"]),
            _counts(neurons.select(tested_state())["confident_state"]),
            len(tried),
            tried.filter(is_significant(fdr)).height,
            layers,
            rows["layer"].n_unique() if several else 1,
            pending and len(rows) < len(neurons),
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
            return _not_tested(self.pending)
        return f"{self.tested_layers:,} of {self.layers:,} layers tested" + (
            " so far" if self.pending else ""
        )

    @property
    def changes(self) -> str:
        """Return how many tested neurons changed, in words; `observed, not tested` if nothing is tested."""
        if not self.tested_layers or self.fdr is None:
            return f"observed, {self.progress}"
        if not self.tested:
            return "no neuron in both stages is active enough to be tested"
        return (
            f"{self.changed:,} of {_plural(self.tested, 'tested neuron')} in both stages changed significantly "
            f"({fdr_label(self.fdr)})"
        )

    @property
    def one_sided(self) -> str:
        """Return how many neurons are avoided and gained, and how many of these significantly, in words."""
        return "; ".join(map(self.of_state, _ONE_SIDED))

    def of_state(self, state: str) -> str:
        """Return how many neurons are avoided or gained, in words: `6 only before, 1 of them significant`.

        Args:
            state: `avoided` or `gained`.
        """
        name = STATE_NAMES[state]
        if not self.tested_layers:
            return f"{self.observed.get(state, 0):,} {name}"
        number, significant = self.observed_tested.get(state, 0), self.states.get(state, 0)
        if number == 0:
            return f"0 {name}"
        if number == 1:
            return f"1 {name}, {'significant' if significant else NOT_SIGNIFICANT}"
        return f"{number:,} {name}, {f'{significant:,}' if significant else 'none'} of them significant"

    def sentences(self, before: str, after: str) -> list[str]:
        """Return what was observed, then what is significant, then what is not tested yet.

        Args:
            before: name of the earlier stage, as it is to be shown.
            after: name of the later stage.
        """
        return [self._observation(before, after), *self._tests()]

    def _observation(self, before: str, after: str) -> str:
        shared, verb = self.observed.get("shared", 0), "is" if self.observed.get("shared", 0) < 2 else "are"
        neurons = _plural(self.neurons, "neuron")
        text = (
            f"{f'{shared:,}' if shared else 'none'} of {neurons} {verb} in use in both {before} and {after}"
        )
        if self.finished:
            return f"{text[0].upper()}{text[1:]}."
        where = f" in all {self.layers:,} layers" if self.tested_layers else f", {self.progress}"
        one_sided = (f"{self.observed.get(state, 0):,}" for state in _ONE_SIDED)
        return "Observed{}: {}, {} only before (avoided), {} only after (gained).".format(
            where, text, *one_sided
        )

    def _tests(self) -> list[str]:
        if not self.tested_layers:
            where = "layer by layer" if self.layers > 1 else "when the test is done"
            return [f"Significance appears here {where}."] if self.pending else []
        prefix = "" if self.finished else f"{self.progress}: "
        result = f"{prefix}{self.changes}; {self.one_sided}."
        sentences = [f"{result[0].upper()}{result[1:]}"]
        if not self.finished:
            missing = self.layers - self.tested_layers
            verb = "is" if self.untested == 1 else "are"
            sentences.append(
                f"{_plural(self.untested, 'neuron')} of {_plural(missing, 'layer')} {verb} {_not_tested(self.pending)}."
            )
        if self.layers > 1:
            sentences.append("The FDR is controlled within each layer.")
        return sentences


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _counts(states: pl.Series) -> dict[str, int]:
    """Return the number of neurons of each state that occurs."""
    return {str(state): int(number) for state, number in states.value_counts().iter_rows()}
