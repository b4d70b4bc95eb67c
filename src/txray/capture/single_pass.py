"""Collect stages in this process, over a whole corpus or one shard."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

from txray.capture.checkpoint import FolderCheckpoints, Stateful
from txray.capture.concept_bins import SAMPLE_WORDS, ConceptSample, measure_bins
from txray.capture.concept_tally import ConceptTally
from txray.capture.estimate import allowed_memory, format_bytes, free_memory, require_memory
from txray.capture.expected_power import ExpectedPower, TextSize, expected_power
from txray.capture.forward.padding import settle_padding
from txray.capture.hook_point import HookPoint
from txray.capture.layer_tally import LayerTally
from txray.capture.layers import hook_points_for
from txray.capture.loop import DocumentStream, run
from txray.capture.model_adapter import RecurrentAdapter
from txray.capture.output_cache import FREE_SHARE, MAX_BYTES, OutputCache
from txray.capture.request import CollectRequest
from txray.capture.scales import Scales, ScaleTally, scale_table
from txray.capture.source_for import source_for
from txray.capture.stored.adapter import StoredAdapter
from txray.capture.stored.recorder import ActivationRecorder
from txray.corpus.corpus import Corpus
from txray.errors import CaptureError, PowerWarning, UsageError, warn_user
from txray.identity import derived
from txray.models.base_model import input_device
from txray.preferences import Preferences, Stage
from txray.preferences.histograms import ConceptHistograms, bytes_of_histograms
from txray.preferences.output_tokens import OUTPUT
from txray.preferences.stage_warnings import stage_warnings, wins_of
from txray.preferences.tags import tag_table


class SinglePass:
    """The default engine: one pass in this process."""

    def collect(self, request: CollectRequest) -> Stage:
        """Return the stage of one pass over all documents."""
        collection = Collection(request)
        source = request.source()
        collection.require_memory(source)
        collection.estimate_power(source)
        checkpoints = None
        if request.checkpoint is not None:
            settings = collection.settings(source)
            checkpoints = FolderCheckpoints(request.checkpoint, settings, request.checkpoint_seconds)
        scales, cache = request.scales, None
        if collection.needs_scales:
            tallies = collection.scale_tallies()
            cache = collection.output_cache()
            collection.measure_scales(source, tallies, checkpoints, fill=cache)
            scales = Scales.measured(request.name, tallies)
        scales = collection.with_bins(source, scales)
        return collection.stage(source, scales, checkpoints, max_words=request.max_words, cached=cache)


class Collection:
    """A request with the hook points of its model, ready to collect a whole corpus or shard by shard."""

    def __init__(self, request: CollectRequest) -> None:
        """Resolve the layers by dry runs of the model.

        Raises:
            TxrayError: as `txray.collect` does, except for errors of the text.
        """
        self.request = request
        self._adapter = source_for(
            request.model,
            outputs=OUTPUT in request.feature_types,
            autocast=request.autocast,
            corpus=request.corpus,
        )
        self._hook_points = hook_points_for(self._adapter, request.layers, request.selection)
        settle_padding(self._adapter, self._hook_points)
        for hook_point in self._hook_points:
            hook_point.require_supported(request.feature_types)
        self._standardized = [point for point in self._hook_points if point.selection.standardize == "zscore"]
        self._model = self._adapter.identify()
        self._needed = 0
        self._weakest: ExpectedPower | None = None

    def settings(self, corpus: Corpus) -> dict[str, Any]:
        """Return everything that the result depends on, as plain JSON values."""
        request = self.request
        return {
            "name": request.name,
            "model": self._model["fingerprint"],
            "reading code": self._reading_code(),
            "corpus": corpus.fingerprint,
            "layers": [[point.layer, *point.settings().values()] for point in self._hook_points],
            "feature_types": list(request.feature_types),
            "reading": self._adapter.settings,
            "folds": request.folds,
            "exemplars": request.exemplars,
            "batch_positions": request.batch_positions,
            "scales": None if request.scales is None else request.scales.table.write_json(),
            **self._concept_settings(),
            **(
                {}
                if request.save_activations is None
                else {
                    "save_activations": [
                        str(request.save_activations.folder),
                        request.save_activations.settings,
                    ]
                }
            ),
        }

    def _concept_settings(self) -> dict[str, Any]:
        """Return what the histograms depend on; empty without concepts."""
        request = self.request
        if not request.concepts:
            return {}
        edges = {} if request.scales is None else request.scales.edges
        return {
            "concepts": {feature_type: sorted(names) for feature_type, names in request.concepts.items()},
            "bins": {layer: sha256(bounds.tobytes()).hexdigest() for layer, bounds in edges.items()},
        }

    def with_bins(self, corpus: Corpus, scales: Scales | None) -> Scales | None:
        """Return the scales with the bins of activations, measured at a sample of the corpus unless they have them.

        Unchanged without concepts. Fits into memory, or raises before the model runs.

        Raises:
            UsageError: too many concepts, or their histograms do not fit into memory.
            CaptureError: activations are not finite.
        """
        request = self.request
        if not request.concepts:
            return scales
        scales = scales or Scales(request.name, scale_table(()))
        if request.scales is not None and request.scales.edges:
            return replace(scales, edges=request.scales.edges)
        sample = ConceptSample.of(corpus, self._adapter, request.concepts)
        neurons = sum(point.n_neurons for point in self._hook_points)
        sizes = sample.n_concepts.values()
        needed = sum(bytes_of_histograms(neurons, size, request.folds) for size in sizes)
        needed += 2 * SAMPLE_WORDS * 4 * neurons
        allowed = allowed_memory() if request.memory is None else request.memory
        if needed > allowed:
            raise UsageError(
                f"collect: histograms of {sum(sizes)} concepts and {neurons:,} neurons need about "
                f"{format_bytes(needed)} of memory, {format_bytes(allowed)} may be used; name fewer concepts, as in "
                "concepts={'pos': ['NN', 'VBZ']}, or collect fewer layers at a time"
            )
        return replace(
            scales, edges=measure_bins(sample, self._adapter, self._hook_points, request.batch_positions)
        )

    def _reading_code(self) -> str:
        """Return a fingerprint of the code that reads: the adapter's, and that of modules between layer and neurons."""
        codes = [point.through.code for point in self._hook_points if point.through is not None]
        return derived(self._adapter.fingerprint, *codes) if codes else self._adapter.fingerprint

    def require_memory(self, corpus: Corpus, memory: int | None = None) -> None:
        """Raise if the tallies of a corpus do not fit into memory; see `txray.capture.estimate`.

        Raises:
            UsageError: they need more bytes than the request allows or, if it has no limit, than `memory`.
        """
        allowed = memory if self.request.memory is None else self.request.memory
        self._needed = require_memory(
            self._hook_points, self._adapter, corpus, self.request.feature_types, self.request.folds, allowed
        )

    def estimate_power(self, corpus: Corpus) -> None:
        """Estimate the changes that this collection would show; see `txray.capture.expected_power`.

        Recurrent models are left out, because they read faster than their texts can be counted, and stored activations.

        Warns:
            PowerWarning: a layer of another model would hardly show any.
        """
        if isinstance(self._adapter, RecurrentAdapter | StoredAdapter):
            return
        folds = self.request.folds
        estimates = list(expected_power(self._hook_points, TextSize.of(corpus), folds))
        self._weakest = min(estimates, key=lambda estimate: estimate.wins, default=None)
        lines = [(estimate, estimate.warning(folds)) for estimate in estimates]
        warned = [(estimate.wins, line) for estimate, line in lines if line]
        if warned:
            others = "" if len(warned) == 1 else f" (and {len(warned) - 1} more of its layers)"
            warn_user(min(warned)[1] + others, PowerWarning)

    @property
    def needs_scales(self) -> bool:
        """Return whether a first pass over all documents must measure means and deviations."""
        return self.request.scales is None and bool(self._standardized)

    def scale_tallies(self) -> list[ScaleTally]:
        """Return an empty tally for each layer that needs scales."""
        return list(map(ScaleTally, self._standardized))

    def output_cache(self) -> OutputCache | None:
        """Return an empty cache for both passes over the documents; None if the second pass has to read again.

        That is the case if it reads more layers than the first, on devices whose memory the model needs, and for stored
        activations.
        """
        if len(self._standardized) < len(self._hook_points) or isinstance(self._adapter, StoredAdapter):
            return None
        if input_device(self._adapter.module).type != "cpu":
            return None
        return OutputCache(min(MAX_BYTES, free_memory() // FREE_SHARE))

    def measure_scales(
        self,
        corpus: Corpus,
        tallies: Sequence[ScaleTally],
        checkpoints: FolderCheckpoints | None = None,
        fill: OutputCache | None = None,
    ) -> None:
        """Add the activations at all words of a corpus to `tallies`, and the outputs of layers to `fill`."""
        checkpoint = None if checkpoints is None else checkpoints.for_pass("scales", tallies)
        stream = DocumentStream(corpus, self._adapter, tagged=False)
        description = f"scales of {self.request.name}"
        positions = self.request.batch_positions
        run(self._adapter, stream, tallies, positions, description, None, checkpoint, fill=fill)
        if checkpoint is not None:
            checkpoint.complete()

    def stage(
        self,
        corpus: Corpus,
        scales: Scales | None,
        checkpoints: FolderCheckpoints | None = None,
        *,
        max_words: int | None = None,
        cached: OutputCache | None = None,
    ) -> Stage:
        """Return the stage of a corpus.

        Args:
            corpus: the documents.
            scales: scales of all layers that standardize; None if there are none.
            checkpoints: state to resume from.
            max_words: number of words, if known, for the progress bar.
            cached: outputs of the layers that the first pass stored.
        """
        request = self.request
        hook_points = self._hook_points if scales is None else scales.applied_to(self._hook_points)
        tallies = [
            LayerTally(
                hook_point,
                request.feature_types,
                request.folds,
                request.exemplars,
                self._concept_tally(hook_point, scales),
            )
            for hook_point in hook_points
        ]
        recorder = self._recorder(corpus)
        tagged = {"token", "pos"} <= set(request.feature_types)
        stream = DocumentStream(corpus, self._adapter, tagged=tagged, recorder=recorder)
        description = f"collecting {request.name}"
        notes = [f"tallies up to {format_bytes(self._needed)}"] if self._needed else []
        notes += [] if self._weakest is None else [str(self._weakest)]
        if notes:
            description += f" ({'; '.join(notes)})"
        stateful: list[Stateful] = [*tallies, *([] if recorder is None else [recorder])]
        checkpoint = None if checkpoints is None else checkpoints.for_pass("tallies", stateful)
        positions = request.batch_positions
        run(
            self._adapter,
            stream,
            tallies,
            positions,
            description,
            max_words,
            checkpoint,
            recorder,
            cached=cached,
        )
        stage = self._stage(corpus, tallies, stream)
        if recorder is not None:
            recorder.finish(stage.manifest["corpus"])
        return stage

    def _concept_tally(self, hook_point: HookPoint, scales: Scales | None) -> ConceptTally | None:
        if not self.request.concepts:
            return None
        assert scales is not None
        return ConceptTally(scales.edges_of(hook_point), self.request.concepts, self.request.folds)

    def _recorder(self, corpus: Corpus) -> ActivationRecorder | None:
        """Return what saves the activations, if they are to be saved."""
        options = self.request.save_activations
        if options is None:
            return None
        settings = self.settings(corpus)
        # The activations themselves do not depend on these.
        for name in ("feature_types", "folds", "exemplars", "scales", "name", "concepts", "bins"):
            settings.pop(name, None)
        return ActivationRecorder(options, settings, self._adapter, self._hook_points)

    def _stage(self, corpus: Corpus, tallies: Sequence[LayerTally], stream: DocumentStream) -> Stage:
        name = self.request.name
        collected: dict[tuple[str, str], Preferences] = {}
        histograms: dict[tuple[str, str], ConceptHistograms] = {}
        accounts = {}
        for tally in tallies:
            layer = tally.hook_point.layer
            for preferences in tally.freeze(name):
                if not np.isfinite(preferences.sum_sq).all():
                    raise CaptureError(
                        f"layer {layer!r}: activations up to {preferences.max.max():.3g} are too large to be squared "
                        "and summed; the model's weights are broken, or its activations overflow"
                    )
                collected[layer, preferences.feature_type] = preferences
            histograms |= {(layer, one.feature_type): one for one in tally.histograms(name)}
            skipped = tally.skipped + stream.unread
            accounted = tally.counted + skipped.total()
            if accounted != stream.n_words:
                raise CaptureError(
                    f"stage {name!r}: layer {layer!r} accounts for {accounted} of {stream.n_words} words; "
                    "please report this as a bug"
                )
            accounts[layer] = {
                "counted": tally.counted,
                "skipped": dict(sorted(skipped.items())),
                **tally.hook_point.settings(),
                **tally.hook_point.observations(),
            }
        documents = stream.documents.table()
        corpus_entry = {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            "documents": stream.n_documents,
            "documents_digest": stream.digest,
            "documents_skipped": dict(sorted(corpus.skipped.items())),
            **stream.documents.counts(),
            **shard_of(corpus),
        }
        manifest = {
            "model": self._model,
            "reading": self._adapter.settings,
            **({"text": dict(sorted(stream.read_as.items()))} if stream.read_as else {}),
            "corpus": corpus_entry,
            "exemplars": self.request.exemplars,
            "words": stream.n_words,
            "unknown_words": stream.n_unknown,
            "unknown_share": stream.n_unknown / stream.n_words,
            "layers": accounts,
            "selection": str(self.request.selection),
            **(
                {"concepts": {name: sorted(names) for name, names in self.request.concepts.items()}}
                if self.request.concepts
                else {}
            ),
            "warnings": [
                str(warning)
                for warning in stage_warnings(
                    wins_of(collected, accounts), accounts, corpus_entry, stream.n_words
                )
            ],
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in ("txray", "torch", "numpy", "polars")},
            },
        }
        exemplars = pl.concat([tally.exemplars() for tally in tallies])
        tags, scales = tag_table(stream.tags), scale_table(tally.hook_point for tally in tallies)
        return Stage(name, collected, exemplars, manifest, tags, scales, documents, histograms=histograms)


def shard_of(corpus: Corpus) -> dict[str, Any]:
    """Return the entry of the manifest that identifies the shard of a corpus; empty if it is a whole corpus."""
    info = corpus.shard_info
    if info is None:
        return {}
    whole = {"name": info.whole.name, "fingerprint": info.whole.fingerprint}
    return {"shard": {"number": info.number, "of": info.n_shards, **whole}}
