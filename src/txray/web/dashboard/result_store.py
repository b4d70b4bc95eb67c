"""What pages ask for: results that are there, or how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from txray.analysis import CONFIDENT_STATES, SHOWN_STATES
from txray.analysis.findings import tested_state
from txray.errors import StageError, UnknownNameError, in_one_line
from txray.lru_cache import LRUCache
from txray.preferences import StageFolder
from txray.web.dashboard.cache import Cache, read_note, read_result
from txray.web.dashboard.jobs.tasks import TESTED, shared_layers
from txray.web.dashboard.jobs.worker import Job, JobWorker
from txray.web.dashboard.results import ComparisonConfig, MatchResult, TagMass, TestedPair
from txray.web.dashboard.stage_catalog import StageCatalog

Value = TypeVar("Value")

_TABLES_HELD, _MADE_HELD = 384 << 20, 256 << 20
"""Bytes of results that are kept in memory, and of what was made from them."""


class ResultStore:
    """Hands out results; what is not there yet is asked of one of two processes."""

    def __init__(self, library: StageCatalog, cache: Cache, choices: ComparisonConfig) -> None:
        """Nothing is started until something is asked for.

        Args:
            library: the stages.
            cache: where results are kept.
            choices: how stages are compared.
        """
        self.library, self.cache, self.choices = library, cache, choices
        self._held, self._made = LRUCache(_TABLES_HELD), LRUCache(_MADE_HELD)
        # Tests take long: what somebody waits for must not queue behind them.
        self._quick, self._slow = JobWorker("reading stages", 2), JobWorker("testing", 15)

    def close(self) -> None:
        """End the processes."""
        for process in (self._quick, self._slow):
            process.close()

    @property
    def version(self) -> str:
        """Changes whenever a page may have more to show."""
        return f"{self.library.revision}.{self._quick.finished}.{self._slow.finished}"

    def doing(self) -> list[str]:
        """What is being done, in words, with its progress."""
        return [told for process in (self._quick, self._slow) for told in process.doing()]

    def try_again(self) -> list[str]:
        """Forget what failed, and open again what has changed; returns what cannot be opened."""
        for process in (self._quick, self._slow):
            process.forget()
        return self.library.reload()

    def kept(self, key: Any, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """A value made from results, kept as long as there is room; see `LRUCache.get`."""
        return self._made.get(key, make, size)

    def digest(self, stage: StageFolder, feature_type: str) -> pl.DataFrame:
        """The numbers of every neuron of a stage, layer by layer: layer, neuron, length, wins, mass.

        Raises:
            NotReady: it is being made.
            TxrayError: it cannot be made.
        """
        file = self._ready(self._digest(stage, feature_type))
        layers = pl.Enum(list(stage.layers))

        def read() -> pl.DataFrame:
            table = read_result(file).select("layer", "neuron", "length", "wins", "mass")
            return table.with_columns(pl.col("layer").cast(layers))

        return self._held.get(("digest", file), read, lambda table: int(table.estimated_size()))

    def digest_of(self, stage: StageFolder, feature_type: str, layer: str) -> pl.DataFrame:
        """The rows of one layer of `digest`: row n is neuron n."""
        return self.digest(stage, feature_type).slice(stage.starts[layer], stage.n_neurons[layer])

    def names_of(self, stage: StageFolder, feature_type: str, layer: str) -> pl.DataFrame:
        """What the neurons of one layer prefer, as words to show: `strongest` and `beyond`; row n is neuron n."""
        file = self._ready(self._digest(stage, feature_type))
        rows = pl.scan_parquet(file).slice(stage.starts[layer], stage.n_neurons[layer])
        try:
            return rows.select("strongest", "beyond").collect()
        except (OSError, pl.exceptions.PolarsError):
            # Reading all of it removes what is damaged, and says so.
            return read_result(file).slice(stage.starts[layer], stage.n_neurons[layer])

    def tops(self, stage: StageFolder, feature_type: str) -> pl.Series:
        """(n_neurons of all layers,) the feature that most of each neuron's mass falls on."""
        file = self._ready(self._digest(stage, feature_type))
        return self._held.get(
            ("tops", file), lambda: read_result(file)["top"], lambda names: int(names.estimated_size())
        )

    def postings(self, stage: StageFolder, feature_type: str, feature: str) -> pl.DataFrame:
        """The neurons of a stage that prefer a feature: layer (a name), neuron, count, mass, probability, lift."""
        self.digest(stage, feature_type)
        wanted = pl.col("feature") == feature

        def find() -> pl.DataFrame:
            layers = pl.Series(list(stage.layers), dtype=pl.String)
            found = self._postings(
                stage,
                feature_type,
                lambda file: pl.scan_parquet(file).filter(wanted).drop("feature").collect(),
            )
            return found.with_columns(layer=layers.gather(found["layer"]))

        key = ("postings", stage.fingerprint, feature_type, feature)
        return self._held.get(key, find, lambda table: int(table.estimated_size()))

    def preferred(self, stage: StageFolder, feature_type: str, feature: str) -> NDArray[np.bool_]:
        """(n_neurons of all layers,) whether each prefers a feature."""

        def mark() -> NDArray[np.bool_]:
            found = self.postings(stage, feature_type, feature)
            offsets = found["layer"].replace_strict(stage.starts, return_dtype=pl.Int64).to_numpy()
            place = offsets + found["neuron"].to_numpy()
            marked = np.zeros(sum(stage.n_neurons.values()), np.bool_)
            marked[place] = True
            return marked

        return self._held.get(
            ("preferred", stage.fingerprint, feature_type, feature), mark, lambda marked: marked.nbytes
        )

    def tag_mass(self, stage: StageFolder, feature_type: str = "pos") -> TagMass:
        """Where the activation mass of every neuron falls, for a kind with few features."""
        self.digest(stage, feature_type)

        def read() -> TagMass:
            names, counts = stage.vocabulary(feature_type)
            table = self._postings(stage, feature_type, read_result)
            starts = np.array(list(stage.starts.values()))
            feature = table["feature"].cast(pl.Enum(names.tolist())).to_physical().to_numpy()
            return TagMass(
                names.tolist(),
                (starts[table["layer"].to_numpy()] + table["neuron"].to_numpy()).astype(np.int32),
                np.searchsorted(feature, np.arange(len(names))),
                table["mass"].to_numpy(),
                counts.sum(axis=0),
            )

        return self._held.get(
            ("tags", stage.fingerprint, feature_type), read, lambda tags: 8 * len(tags.neuron)
        )

    def pair(
        self, before: StageFolder, after: StageFolder, feature_type: str, layer: str | None = None
    ) -> TestedPair:
        """Two stages compared, and tested as far as that is done.

        Args:
            before, after: the stages.
            kind: the feature type.
            layer: whose tests are wanted first.

        Raises:
            NotReady: it is being made.
            TxrayError: it cannot be made.
        """
        table = self._table(self._pair(before, after, feature_type))
        layers = tuple(table["layer"].unique(maintain_order=True))
        if not self.choices.permutations:
            return self._joined(table, layers, {}, "")
        first = [name for name in layers if name == layer]
        files, problem = {}, ""
        for name in (*first, *(other for other in layers if other != layer)):
            request = self._tests(before, after, feature_type, name, urgent=name == layer)
            if request.out.is_file():
                files[name] = request.out
            else:
                problem = problem or self._slow.problem(request)
                if not problem:
                    self._slow.ask(request)
        return self._joined(table, layers, files, problem)

    def _joined(
        self, table: pl.DataFrame, layers: tuple[str, ...], files: dict[str, Path], problem: str
    ) -> TestedPair:
        def join() -> TestedPair:
            parts, notes = [], []
            for name, size in zip(layers, _sizes(table), strict=True):
                if name in files:
                    parts.append(read_result(files[name]))
                    notes.append(read_note(files[name]))
                else:
                    parts.append(_untested(size))
            # In one piece: polars may panic on columns of several, some of nulls only, when it turns numbers into text.
            tested = pl.concat(parts, rechunk=True)
            pending = bool(self.choices.permutations) and not problem and len(files) < len(layers)
            observed = pl.col("state").cast(pl.Enum(SHOWN_STATES))
            neurons = pl.concat([table, tested], how="horizontal").with_columns(
                layer=pl.col("layer").cast(pl.Enum(layers)),
                shown=tested_state() if files or pending else observed,
                place=pl.int_range(pl.len(), dtype=pl.UInt32),
            )
            done = tuple(name for name in layers if name in files)
            note = next((note for note in notes if note), "")
            return TestedPair(neurons, layers, done, note, problem, pending)

        key = ("joined", id(table), tuple(sorted(files)), problem)
        # The table itself is kept with it, so that no other table can have its id; its columns are not copied.
        held = self.kept(
            key,
            lambda: (table, join()),
            lambda pair: int(pair[1].neurons.estimated_size() - table.estimated_size()),
        )
        return held[1]

    def matching(
        self, before: StageFolder, after: StageFolder, layer_before: str, layer_after: str, feature_type: str
    ) -> MatchResult:
        """The neurons of one layer matched to those of another.

        Raises:
            NotReady: it is being made.
            TxrayError: it cannot be made.
        """
        for stage, layer in ((before, layer_before), (after, layer_after)):
            if layer not in stage.layers:
                raise UnknownNameError.of(f"layer of stage {stage.name!r}", layer, stage.layers)
        digests = [self._ready(self._digest(stage, feature_type)) for stage in (before, after)]
        name = f"{_index(before, layer_before)}-{_index(after, layer_after)}"
        out = self.cache.place("matchings", self._of_pair(before, after, feature_type), name)
        request = Job(
            "matching",
            out,
            {
                **self._compared(before, after, feature_type, out),
                "layer_before": layer_before,
                "layer_after": layer_after,
                "digests": [str(file) for file in digests],
            },
            f"matching {before.name} and {after.name}",
            "layers",
        )
        file = self._ready(request)
        try:
            curve = read_result(file.with_name(f"{file.stem}-curve.parquet"))
        except StageError:
            # The pairs tell that both are there.
            with suppress(OSError):
                file.unlink()
            raise
        return MatchResult(self._table(request), curve, float(read_note(file)))

    def prepare(self, before: StageFolder, after: StageFolder, feature_type: str) -> None:
        """Ask for what somebody will look at sooner or later: digests of all stages, those of the pair first."""
        for stage in self.library:
            for each in dict.fromkeys((feature_type, "pos")):
                if each in stage.feature_types:
                    self._quick.ask(self._digest(stage, each, urgent=stage in (before, after)))

    def _digest(self, stage: StageFolder, feature_type: str, *, urgent: bool = True) -> Job:
        if feature_type not in stage.feature_types:
            raise UnknownNameError.of(
                f"feature type of stage {stage.name!r}", feature_type, stage.feature_types
            )
        out = self.cache.place("stages", stage.fingerprint, f"{feature_type}-{self.choices.weight}")
        arguments = {
            "neurons": str(out),
            "postings": str(self._postings_file(stage, feature_type)),
            "stage": str(stage.path),
            "kind": feature_type,
            "weight": self.choices.weight,
        }
        return Job("digest", out, arguments, f"reading {stage.name} ({feature_type})", "layers", urgent)

    def _postings_file(self, stage: StageFolder, feature_type: str) -> Path:
        return self.cache.place("stages", stage.fingerprint, f"{feature_type}-{self.choices.weight}-postings")

    def _postings(
        self, stage: StageFolder, feature_type: str, read: Callable[[Path], pl.DataFrame]
    ) -> pl.DataFrame:
        """What is read of the postings; where they are damaged, they are made anew when they are asked for again."""
        file = self._postings_file(stage, feature_type)
        try:
            return read(file)
        except (OSError, StageError, pl.exceptions.PolarsError) as error:
            # The digest tells that both are there.
            for each in (file, self._digest(stage, feature_type).out):
                with suppress(OSError):
                    each.unlink()
            raise StageError(
                f"{file}: cannot be read ({in_one_line(error)}); reload to make it anew"
            ) from error

    def _pair(self, before: StageFolder, after: StageFolder, feature_type: str) -> Job:
        digests = [self._ready(self._digest(stage, feature_type)) for stage in (before, after)]
        out = self.cache.place("pairs", self._of_pair(before, after, feature_type), "neurons")
        arguments = {
            **self._compared(before, after, feature_type, out),
            "digests": [str(file) for file in digests],
        }
        return Job("pair", out, arguments, f"comparing {before.name} with {after.name}", "layers")

    def _tests(
        self, before: StageFolder, after: StageFolder, feature_type: str, layer: str, *, urgent: bool
    ) -> Job:
        level, permutations = self.choices.level, self.choices.permutations
        name = f"tests-{level:g}-{permutations}-{_index(before, layer)}"
        out = self.cache.place("pairs", self._of_pair(before, after, feature_type), name)
        arguments = {
            **self._compared(before, after, feature_type, out),
            "layer": layer,
            "level": level,
            "permutations": permutations,
        }
        what = f"testing {before.name} against {after.name}, layer {layer}"
        return Job("tests", out, arguments, what, "layers", urgent)

    def _compared(
        self, before: StageFolder, after: StageFolder, feature_type: str, out: Path
    ) -> dict[str, Any]:
        """Arguments of everything that is done with two stages."""
        return {
            "out": str(out),
            "before": str(before.path),
            "after": str(after.path),
            "kind": feature_type,
            "weight": self.choices.weight,
        }

    def _of_pair(self, before: StageFolder, after: StageFolder, feature_type: str) -> str:
        return f"{before.fingerprint}-{after.fingerprint}-{feature_type}-{self.choices.weight}"

    def _ready(self, request: Job) -> Path:
        """The file of a request; asked for where it is not there."""
        if not request.out.is_file():
            self._quick.wait(request)
        return request.out

    def _table(self, request: Job) -> pl.DataFrame:
        file = self._ready(request)
        return self._held.get(file, lambda: read_result(file), lambda table: int(table.estimated_size()))


def common_layers(stages: Sequence[StageFolder]) -> list[str]:
    """Layers that every stage has, with the same neurons."""
    first = stages[0]
    held = [set(shared_layers(first, other)) for other in stages]
    return [layer for layer in first.layers if all(layer in layers for layers in held)]


def _index(stage: StageFolder, layer: str) -> int:
    return list(stage.layers).index(layer)


def _sizes(table: pl.DataFrame) -> Iterator[int]:
    return iter(table.group_by("layer", maintain_order=True).len()["len"].to_list())


def _untested(size: int) -> pl.DataFrame:
    dtypes = {name: pl.Float64() for name in TESTED if name != "confident_state"}
    return pl.DataFrame(
        [
            pl.Series(name, [None], dtype=dtypes.get(name, pl.Enum(CONFIDENT_STATES))).new_from_index(0, size)
            for name in TESTED
        ]
    )
