"""Results for the pages: served from memory or from the cache on disk, or scheduled as background jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis import CONFIDENT_STATES, SHOWN_STATES
from txray.analysis.rules import tested_state
from txray.errors import StageError, UnknownNameError, in_one_line
from txray.lru_cache import LRUCache
from txray.preferences import StageFolder
from txray.web.dashboard.cache import Cache, read_note, read_result
from txray.web.dashboard.jobs.plan import JobPlan
from txray.web.dashboard.jobs.queue import Job, JobQueue, JobStatus
from txray.web.dashboard.jobs.tasks import TESTED, curve_file, index_file, shared_layers
from txray.web.dashboard.results import ComparisonConfig, MatchResult, TagMass, TestedPair
from txray.web.dashboard.stage_catalog import StageCatalog

Value = TypeVar("Value")

_MAX_TABLE_BYTES, _MAX_DERIVED_BYTES = 384 << 20, 256 << 20
"""Limits in memory: of results, and of what is computed from them."""


class ResultStore:
    """Serve cached results, and schedule missing ones on one of two background workers."""

    def __init__(self, catalog: StageCatalog, cache: Cache, config: ComparisonConfig) -> None:
        """Start no worker before a result is missing."""
        self.catalog, self.cache, self.config = catalog, cache, config
        self._plan = JobPlan(cache, config)
        self._tables, self._derived = LRUCache(_MAX_TABLE_BYTES), LRUCache(_MAX_DERIVED_BYTES)
        # Tests take long: what a page waits for must not queue behind them.
        self._reading, self._testing = JobQueue("reading stages", 2), JobQueue("testing", 15)

    def close(self) -> None:
        """Stop the workers."""
        for queue in (self._reading, self._testing):
            queue.close()

    def job_status(self) -> tuple[JobStatus, JobStatus]:
        """Return the status of the queue that reads, compares and matches stages, and of the one that tests."""
        return self._reading.status(), self._testing.status()

    @property
    def version(self) -> str:
        """Text that changes whenever a page may have more to show."""
        finished = [str(status.n_finished) for status in self.job_status()]
        return ".".join([str(self.catalog.revision), *finished])

    def retry_failed(self) -> list[str]:
        """Let failed jobs run again, and open changed stages again; return which cannot be opened."""
        for queue in (self._reading, self._testing):
            queue.clear_errors()
        return self.catalog.reload()

    def memoize(self, key: Any, compute: Callable[[], Value], size_of: Callable[[Value], int]) -> Value:
        """Return a value computed from results, from memory if possible; see `LRUCache.get`."""
        return self._derived.get(key, compute, size_of)

    def neuron_table(self, stage: StageFolder, feature_type: str) -> pl.DataFrame:
        """Return layer, neuron, length, wins and mass of every neuron of a stage, layer by layer.

        Raises:
            JobPending: the stage is being read.
            TxrayError: it cannot be read.
        """
        file = self._ready(self._plan.neuron_table(stage, feature_type))
        layers = pl.Enum(list(stage.layers))

        def read() -> pl.DataFrame:
            table = read_result(file).select("layer", "neuron", "length", "wins", "mass")
            return table.with_columns(pl.col("layer").cast(layers))

        return self._tables.get(("neurons", file), read, _bytes)

    def layer_table(self, stage: StageFolder, feature_type: str, layer: str) -> pl.DataFrame:
        """Return the rows of one layer of `neuron_table`: row n is neuron n."""
        return self.neuron_table(stage, feature_type).slice(stage.starts[layer], stage.n_neurons[layer])

    def preferred_words(self, stage: StageFolder, feature_type: str, layer: str) -> pl.DataFrame:
        """Return what the neurons of one layer prefer, as words: `strongest` and `beyond`; row n is neuron n."""
        file = self._ready(self._plan.neuron_table(stage, feature_type))
        start, size = stage.starts[layer], stage.n_neurons[layer]
        try:
            return pl.scan_parquet(file).slice(start, size).select("strongest", "beyond").collect()
        except (OSError, pl.exceptions.PolarsError):
            # Reading all of it removes a damaged file, and says so.
            return read_result(file).slice(start, size)

    def dominant_features(self, stage: StageFolder, feature_type: str) -> pl.Series:
        """Return (n_neurons of all layers,) the feature that most of the mass of each neuron falls on."""
        file = self._ready(self._plan.neuron_table(stage, feature_type))
        return self._tables.get(
            ("top", file), lambda: read_result(file)["top"], lambda names: int(names.estimated_size())
        )

    def feature_index(self, stage: StageFolder, feature_type: str, feature: str) -> pl.DataFrame:
        """Return layer, neuron, count, mass, probability and lift of the neurons of a stage that prefer a feature."""
        self.neuron_table(stage, feature_type)

        def read(file: Path) -> pl.DataFrame:
            return pl.scan_parquet(file).filter(pl.col("feature") == feature).drop("feature").collect()

        def find() -> pl.DataFrame:
            rows = self._read_index(stage, feature_type, read)
            layers = pl.Series(list(stage.layers), dtype=pl.String)
            return rows.with_columns(layer=layers.gather(rows["layer"]))

        return self._tables.get(("index", stage.fingerprint, feature_type, feature), find, _bytes)

    def prefers(self, stage: StageFolder, feature_type: str, feature: str) -> NDArray[np.bool_]:
        """Return (n_neurons of all layers,) whether each prefers a feature."""

        def mark() -> NDArray[np.bool_]:
            rows = self.feature_index(stage, feature_type, feature)
            starts = rows["layer"].replace_strict(stage.starts, return_dtype=pl.Int64).to_numpy()
            mask = np.zeros(sum(stage.n_neurons.values()), np.bool_)
            mask[starts + rows["neuron"].to_numpy()] = True
            return mask

        return self._tables.get(
            ("prefers", stage.fingerprint, feature_type, feature), mark, lambda mask: mask.nbytes
        )

    def mass_by_tag(self, stage: StageFolder, feature_type: str = "pos") -> TagMass:
        """Return where the activation mass of every neuron falls, for a feature type with few features."""
        self.neuron_table(stage, feature_type)

        def read() -> TagMass:
            names, counts = stage.vocabulary(feature_type)
            table = self._read_index(stage, feature_type, read_result)
            starts = np.array(list(stage.starts.values()))
            feature = table["feature"].cast(pl.Enum(names.tolist())).to_physical().to_numpy()
            return TagMass(
                names.tolist(),
                (starts[table["layer"].to_numpy()] + table["neuron"].to_numpy()).astype(np.int32),
                np.searchsorted(feature, np.arange(len(names))),
                table["mass"].to_numpy(),
                counts.sum(axis=0),
            )

        return self._tables.get(
            ("tags", stage.fingerprint, feature_type), read, lambda tags: 8 * len(tags.neuron)
        )

    def pair(
        self, before: StageFolder, after: StageFolder, feature_type: str, layer: str | None = None
    ) -> TestedPair:
        """Return two stages compared, and tested as far as that is done; the tests of `layer` come first.

        Raises:
            JobPending: the stages are being compared.
            TxrayError: they cannot be compared.
        """
        neuron_tables = self._neuron_tables(before, after, feature_type)
        file = self._ready(self._plan.comparison(before, after, feature_type, neuron_tables))
        table = self._tables.get(file, lambda: read_result(file), _bytes)
        layers = tuple(table["layer"].unique(maintain_order=True))
        files, problem = {}, ""
        if self.config.permutations:
            for name in sorted(layers, key=lambda name: name != layer):
                job = self._plan.significance(before, after, feature_type, name, urgent=name == layer)
                if job.out.is_file():
                    files[name] = job.out
                    continue
                problem = problem or self._testing.error(job)
                if not problem:
                    self._testing.submit(job)

        def join() -> tuple[pl.DataFrame, TestedPair]:
            return table, self._joined(table, layers, files, problem)

        # The table is kept with the pair, so that no other table can get its id; its columns are not copied.
        key = ("pair", id(table), tuple(sorted(files)), problem)
        return self.memoize(key, join, lambda joined: _bytes(joined[1].neurons) - _bytes(table))[1]

    def _joined(
        self, table: pl.DataFrame, layers: tuple[str, ...], files: dict[str, Path], problem: str
    ) -> TestedPair:
        sizes = table.group_by("layer", maintain_order=True).len()["len"]
        parts = [
            read_result(files[name]) if name in files else _untested(size)
            for name, size in zip(layers, sizes, strict=True)
        ]
        # In one chunk: polars may panic on columns of several, some of nulls only, when it turns numbers into text.
        tested = pl.concat(parts, rechunk=True)
        pending = bool(self.config.permutations) and not problem and len(files) < len(layers)
        observed = pl.col("state").cast(pl.Enum(SHOWN_STATES))
        neurons = pl.concat([table, tested], how="horizontal").with_columns(
            pl.col("layer").cast(pl.Enum(layers)),
            (tested_state() if files or pending else observed).alias("shown"),
            pl.int_range(pl.len(), dtype=pl.UInt32).alias("place"),
        )
        done = tuple(name for name in layers if name in files)
        note = next(filter(None, (read_note(files[name]) for name in done)), "")
        return TestedPair(neurons, layers, done, note, problem, pending)

    def matching(
        self, before: StageFolder, after: StageFolder, layer_before: str, layer_after: str, feature_type: str
    ) -> MatchResult:
        """Return the neurons of one layer matched to those of another.

        Raises:
            JobPending: they are being matched.
            TxrayError: they cannot be matched.
        """
        for stage, layer in ((before, layer_before), (after, layer_after)):
            if layer not in stage.layers:
                raise UnknownNameError.of(f"layer of stage {stage.name!r}", layer, stage.layers)
        neuron_tables = self._neuron_tables(before, after, feature_type)
        layers = layer_before, layer_after
        file = self._ready(self._plan.matching(before, after, feature_type, layers, neuron_tables))
        try:
            curve = read_result(curve_file(file))
        except StageError:
            # The file of the pairs says that both exist.
            with suppress(OSError):
                file.unlink()
            raise
        pairs = self._tables.get(file, lambda: read_result(file), _bytes)
        return MatchResult(pairs, curve, float(read_note(file)))

    def prepare(self, before: StageFolder, after: StageFolder, feature_type: str) -> None:
        """Schedule what will be needed sooner or later: reading all stages, the two of the pair first."""
        for stage in self.catalog:
            for name in dict.fromkeys((feature_type, "pos")):
                if name in stage.feature_types:
                    urgent = stage in (before, after)
                    self._reading.submit(self._plan.neuron_table(stage, name, urgent=urgent))

    def _neuron_tables(self, before: StageFolder, after: StageFolder, feature_type: str) -> list[Path]:
        return [self._ready(self._plan.neuron_table(stage, feature_type)) for stage in (before, after)]

    def _read_index(
        self, stage: StageFolder, feature_type: str, read: Callable[[Path], pl.DataFrame]
    ) -> pl.DataFrame:
        """Read from the feature index of a stage; if it is damaged, the stage is read again when next needed."""
        table = self._plan.neuron_table(stage, feature_type).out
        file = index_file(table)
        try:
            return read(file)
        except (OSError, StageError, pl.exceptions.PolarsError) as error:
            # The neuron table says that both exist.
            for damaged in (file, table):
                with suppress(OSError):
                    damaged.unlink()
            raise StageError(
                f"{file}: cannot be read ({in_one_line(error)}); reload to make it again"
            ) from error

    def _ready(self, job: Job) -> Path:
        """Return the file of a job; submit the job if the file is missing."""
        if not job.out.is_file():
            self._reading.require(job)
        return job.out


def common_layers(stages: Sequence[StageFolder]) -> list[str]:
    """Return the layers that all stages have, with as many neurons and the same selection."""
    first = stages[0]
    shared = [set(shared_layers(first, other)) for other in stages]
    return [layer for layer in first.layers if all(layer in layers for layers in shared)]


def _bytes(table: pl.DataFrame) -> int:
    return int(table.estimated_size())


def _untested(n_neurons: int) -> pl.DataFrame:
    special = {"confident_state": pl.Enum(CONFIDENT_STATES), "displaced_by": pl.Int64()}
    dtypes = {name: pl.Float64() for name in TESTED} | special
    return pl.DataFrame(
        [pl.Series(name, [None], dtype=dtype).new_from_index(0, n_neurons) for name, dtype in dtypes.items()]
    )
