"""The frozen result of one stage, layer and feature type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from txray.arrays import Floats, Ints, Names
from txray.checks import is_integer
from txray.errors import ShapeError, UnknownNameError, UsageError
from txray.preferences import export
from txray.preferences.distributions import Distributions
from txray.preferences.grouped_stats import run_starts
from txray.preferences.lift import SHRINKAGE, lift
from txray.preferences.names import NAME_WORDS, RANDOM_NAMES, NameScores, name_scores
from txray.preferences.repr_html import preferences_html
from txray.preferences.runner_ups import RunnerUps, left_out

Weight = Literal["mean", "mass", "count"]
"""Quantity that a distribution normalizes: mean activation per feature (the paper), sum, or number of wins."""

WEIGHTS: tuple[Weight, ...] = ("mean", "mass", "count")

SPARSE_COLUMNS = ("count", "sum", "mean", "max", "probability")
"""Columns of a table in which a missing row means 0, so that they fit a sparse matrix."""

ROW_BYTES = 56
"""Memory of one (fold, neuron, feature): seven numbers of eight bytes."""


@dataclass(frozen=True)
class Totals:
    """Statistics per (neuron, feature), summed over folds; rows sorted by neuron, then feature.

    Attributes:
        neuron: (n,) int64.
        feature_id: (n,) int64 column.
        count: (n,) int64 selected activations.
        sum, max: (n,) float64 of the activations.
    """

    neuron: Ints
    feature_id: Ints
    count: Ints
    sum: Floats
    max: Floats

    def weights(self, weight: Weight) -> Floats:
        """Return the (n,) weights that a preference distribution normalizes."""
        match weight:
            case "mean":
                return self.sum / self.count
            case "mass":
                return self.sum
            case "count":
                return self.count.astype(np.float64)
            case _:
                raise UnknownNameError.of("weight", weight, WEIGHTS)


@dataclass(frozen=True, eq=False)
class Preferences:
    """How strongly each neuron of one layer responds to each feature of one type, over one corpus.

    Attributes:
        stage: name of the stage.
        layer: name of the layer.
        feature_type: e.g. `token`.
        selection: how activations were selected, e.g. `max-1`.
        n_neurons: neurons of the layer, preferred or not.
        features: (n_features,) names, sorted, each occurs at least once in the corpus.
        corpus_counts: (folds, n_features) int64 occurrences in the corpus.
        fold, neuron, feature_id: (n_rows,) int64, sorted in this order, each triple once.
        count: (n_rows,) int64 selected activations.
        sum, sum_sq, max: (n_rows,) float64 of the selected activations, in units of the layer's output.
        runner_ups: what would have been selected if a winner were absent; None if that is not known.

    Raises:
        ShapeError: columns of different length, or an index out of range.
    """

    stage: str
    layer: str
    feature_type: str
    selection: str
    n_neurons: int
    features: Names
    corpus_counts: Ints
    fold: Ints
    neuron: Ints
    feature_id: Ints
    count: Ints
    sum: Floats
    sum_sq: Floats
    max: Floats
    runner_ups: RunnerUps | None = None

    def __post_init__(self) -> None:
        columns = (self.fold, self.neuron, self.feature_id, self.count, self.sum, self.sum_sq, self.max)
        where = (
            f"preferences of stage {self.stage!r}, layer {self.layer!r}, feature type {self.feature_type!r}"
        )
        if len({len(column) for column in columns}) != 1:
            raise ShapeError(f"{where}: columns of lengths {[len(column) for column in columns]}")
        if self.corpus_counts.ndim != 2 or self.corpus_counts.shape[1] != len(self.features):
            raise ShapeError(
                f"{where}: corpus_counts of shape {self.corpus_counts.shape}, features {len(self.features)}"
            )
        sizes = {"fold": self.folds, "neuron": self.n_neurons, "feature_id": len(self.features)}
        bounds = [(name, getattr(self, name), size) for name, size in sizes.items()]
        bounds += [] if self.runner_ups is None else self.runner_ups.bounds(sizes)
        for name, column, size in bounds:
            if len(column) and not 0 <= int(column.min()) <= int(column.max()) < size:
                span = f"from {column.min()} to {column.max()}"
                raise ShapeError(f"{where}: {name} {span}, must stay below {size}")
        for array in (*columns, self.features, self.corpus_counts):
            array.flags.writeable = False

    def __repr__(self) -> str:
        preferred = int((self.lengths() > 0).sum())
        return (
            f"Preferences(stage={self.stage!r}, layer={self.layer!r}, feature_type={self.feature_type!r}, "
            f"{preferred} of {self.n_neurons} neurons in use, {len(self.features)} features)"
        )

    def _repr_html_(self) -> str:
        return preferences_html(self.origin, self.n_neurons, self.table())

    @property
    def origin(self) -> dict[str, str]:
        """Names of the stage, layer, feature type and selection."""
        return {name: getattr(self, name) for name in ("stage", "layer", "feature_type", "selection")}

    @property
    def folds(self) -> int:
        """Number of disjoint groups of documents."""
        return int(self.corpus_counts.shape[0])

    @property
    def words(self) -> int:
        """Words of the corpus that carry a feature of this type."""
        return int(self.corpus_counts.sum())

    @cached_property
    def totals(self) -> Totals:
        """Statistics per (neuron, feature), summed over folds."""
        key = self.neuron * max(len(self.features), 1) + self.feature_id
        order = np.argsort(key, kind="stable")
        starts = run_starts(key[order])
        first = order[starts]
        return Totals(
            neuron=self.neuron[first],
            feature_id=self.feature_id[first],
            count=np.add.reduceat(self.count[order], starts),
            sum=np.add.reduceat(self.sum[order], starts),
            max=np.maximum.reduceat(self.max[order], starts),
        )

    def distributions(self, weight: Weight = "mean") -> Distributions:
        """Return the preference distribution of every neuron.

        Args:
            weight: quantity to normalize: `mean` activation per feature (the paper), `mass`, or `count`.

        Returns:
            (n_neurons, n_features) rows that sum to 1, empty where un-preferred.

        Raises:
            UnknownNameError: no such weight.

        Source:
            Rethmeier et al. 2020, section 2.1.
        """
        totals = self.totals
        return Distributions.from_weights(
            totals.neuron,
            totals.feature_id,
            totals.weights(weight),
            n_neurons=self.n_neurons,
            features=self.features,
        )

    def lengths(self) -> Ints:
        """Return the (n_neurons,) number of distinct features each neuron prefers; 0 means un-preferred."""
        return np.bincount(self.totals.neuron, minlength=self.n_neurons)

    def mass(self) -> Floats:
        """Return the (n_neurons,) sum of each neuron's selected activations, in units of the layer's output."""
        return _summed(self.totals.neuron, self.totals.sum, self.n_neurons)

    def wins(self) -> Ints:
        """Return the (n_neurons,) number of each neuron's selected activations."""
        return _summed(self.totals.neuron, self.totals.count, self.n_neurons).astype(np.int64)

    def feature_mass(self) -> Floats:
        """Return the (n_features,) sum of the selected activations on each feature, over all neurons."""
        return _summed(self.feature_id, self.sum, len(self.features))

    def feature_counts(self) -> Ints:
        """Return the (n_features,) occurrences of each feature in the corpus."""
        return np.asarray(self.corpus_counts.sum(axis=0), dtype=np.int64)

    def without(self, neuron: int) -> Preferences:
        """Return the preferences that the same pass would have given if one neuron were absent.

        Its words go to the neurons that are next behind it; the counts are exact.

        Raises:
            UsageError: no such neuron, or the runner-ups are not known.
        """
        require_neuron(neuron, self.n_neurons, stage=self.stage, layer=self.layer)
        return left_out(self, neuron)

    def table(self, neuron: int | None = None) -> pl.DataFrame:
        """Return one row per preferred feature of each neuron, the strongest first.

        Args:
            neuron: only this neuron; all by default.

        Returns:
            Columns neuron, feature, count, sum, mean, max, probability (of weight `mean`), lift and pmi (how much more
            often than the feature's frequency predicts, see `txray.preferences.lift`; pmi in bits), sorted by neuron,
            then descending probability, then feature.

        Raises:
            UsageError: no such neuron.

        Example:
            >>> preferences.table(13).sort("lift", descending=True).head()  # doctest: +SKIP
        """
        if neuron is not None:
            require_neuron(neuron, self.n_neurons, stage=self.stage, layer=self.layer)
        totals = self.totals
        rows = slice(None) if neuron is None else slice(*np.searchsorted(totals.neuron, (neuron, neuron + 1)))
        columns = {name: values[rows] for name, values in self._statistics().items()}
        lifted = self.lift()[rows]
        return pl.DataFrame(
            {
                "neuron": totals.neuron[rows],
                "feature": pl.Series(self.features[totals.feature_id[rows]].tolist(), dtype=pl.String),
                **columns,
                "lift": lifted,
                "pmi": np.log2(lifted),
            }
        ).sort(["neuron", "probability", "feature"], descending=[False, True, False])

    def lift(self, shrinkage: float = SHRINKAGE) -> Floats:
        """Return the lift of each row of `totals`; see `txray.preferences.lift`."""
        return lift(self.totals, self.feature_counts(), self.words, shrinkage)

    @cached_property
    def name_scores(self) -> NameScores:
        """Scores of the names of all neurons on documents that were not used for naming; see `names`."""
        return name_scores(self)

    def names(
        self, *, words: int = NAME_WORDS, random_names: int = RANDOM_NAMES, seed: int = 0
    ) -> pl.DataFrame:
        """Name every neuron by its most distinctive features, and score the names on documents not used for naming.

        The name (features of highest lift) is chosen on half of the folds and predicts, on the others, which words the
        neuron wins. Random names of as frequent features show what to expect by chance. A name is stable if it has a
        higher AUROC than 95% of them; otherwise pages and figures say "no stable preference", or "too few wins to
        tell" below 20 wins.

        Args:
            words: maximum number of features in a name.
            random_names: random names per neuron; the smallest p-value is 1 / (random_names + 1).
            seed: random seed of the random names.

        Returns:
            One row per neuron: neuron, name (list, of all folds; features of a lift above 1), wins, precision and
            recall of the predicted wins, f1 (their harmonic mean), f1_random (mean of the random names), auroc (0.5 by
            chance), auroc_random, p_value (share of the random names with at least the same AUROC), q_value
            (Benjamini-Hochberg over the layer), and verdict: `stable`, `no stable preference` or `too few wins to
            tell`. Null where nothing can be scored: neurons not in use, without wins to predict, or a single fold.

        Raises:
            UsageError: `words` or `random_names` is not positive, or `seed` is negative.

        Example:
            >>> preferences.names().filter(pl.col("verdict") == "stable").sort("auroc")  # doctest: +SKIP

        Source:
            Phipson and Smyth 2010 (p-values of random draws); Huang et al. 2023 (scores of explanations on other
            text).
        """
        for name, number in (("words", words), ("random_names", random_names), ("seed", seed)):
            if not is_integer(number) or not (name != "seed") <= number < 1 << 63:
                raise UsageError(f"names: {name}={number!r}; pass a positive integer; a seed may be 0")
        scores = name_scores(self, words=words, random_names=random_names, seed=seed)
        return scores.table(self, words=words)

    def _statistics(self) -> dict[str, NDArray[Any]]:
        """Return count, sum, mean, max and probability per (neuron, feature), (n,) arrays in the order of `totals`.

        Probability is of weight `mean`; the others are in units of the layer's output, except the count.
        """
        totals = self.totals
        mean = totals.weights("mean")
        with np.errstate(invalid="ignore"):
            probability = mean / _summed(totals.neuron, mean, self.n_neurons)[totals.neuron]
        return {
            "count": totals.count,
            "sum": totals.sum,
            "mean": mean,
            "max": totals.max,
            "probability": probability,
        }

    def to_pandas(self) -> Any:
        """Return `table` as a `pandas.DataFrame`, unrounded, with an index from 0.

        Its `attrs` are the names of stage, layer, feature type and selection.

        Raises:
            UsageError: pandas is not installed.
        """
        return export.to_pandas(self.table(), self.origin)

    def to_arrow(self) -> Any:
        """Return `table` as a `pyarrow.Table`.

        The metadata of its schema are the names of stage, layer, feature type and selection.

        Raises:
            UsageError: pyarrow is not installed.
        """
        return export.to_arrow(self.table(), self.origin)

    def write_csv(self, path: Path | str, *, spreadsheet: bool = False) -> Path:
        """Write `table` as a CSV file in UTF-8, complete or not at all, and return its path.

        Numbers have as many digits as it takes to read the same number back; features are always in double quotes, and
        double quotes inside them are doubled.

        Args:
            path: of the file, which is replaced if it exists.
            spreadsheet: whether to put an apostrophe before every feature that begins with `=`, `+`, `-`, `@` or their
                wide forms, an apostrophe, a tab or a line end. A spreadsheet would run such a cell as a formula, and
                the words may come from untrusted texts. Off by default, because it changes features; removing one
                apostrophe from those that begin with one undoes it.

        Raises:
            OutputError: the file cannot be written.

        Source:
            OWASP, "CSV Injection".
        """
        return export.write_csv(self.table(), path, spreadsheet=spreadsheet)

    def to_sparse(self, column: str = "count") -> tuple[Any, Names]:
        """Return one column of `table` as a sparse matrix of neurons and features.

        Args:
            column: `count`, `sum`, `mean`, `max` (in units of the layer's output) or `probability`, 0 to 1.

        Returns:
            `scipy.sparse.csr_array` (n_neurons, n_features), int64 for counts and else float64, columns ascending, with
            one entry per row of `table`; and (n_features,) the names of the columns, sorted.

        Raises:
            UnknownNameError: no such column, or a missing entry of it would not mean 0.
        """
        if column not in SPARSE_COLUMNS:
            raise UnknownNameError.of("column of a sparse matrix", column, SPARSE_COLUMNS)
        totals = self.totals
        matrix = sp.csr_array(
            (
                self._statistics()[column].copy(),
                totals.feature_id.copy(),
                np.searchsorted(totals.neuron, np.arange(self.n_neurons + 1)),
            ),
            shape=(self.n_neurons, len(self.features)),
        )
        return matrix, self.features


def require_neuron(number: int, n_neurons: int, *, stage: str, layer: str) -> None:
    """Raise if a layer has no neuron of this number.

    Raises:
        UsageError: not a whole number from 0 to n_neurons - 1.
    """
    if not (is_integer(number) and 0 <= number < n_neurons):
        raise UsageError(
            f"stage {stage!r}: layer {layer!r} has no neuron {number!r}; pass an integer from 0 to "
            f"{n_neurons - 1}"
        )


def _summed(index: Ints, values: Ints | Floats, size: int) -> Floats:
    return np.bincount(index, weights=values, minlength=size).astype(np.float64, copy=False)
