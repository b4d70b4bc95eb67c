"""One pass over the documents in this process: over all of them, or over one part of several."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

from txray.capture.checkpoint import Checkpoints, FolderCheckpoints, NoCheckpoints
from txray.capture.estimate import format_bytes, require_memory
from txray.capture.features import OUTPUT
from txray.capture.layer_tally import LayerTally
from txray.capture.layers import hook_points_for
from txray.capture.loop import DocumentStream, run
from txray.capture.model_adapter import adapter_for
from txray.capture.padding import settle_padding
from txray.capture.request import CollectRequest, Scales
from txray.capture.scales import ScaleTally, measured_scales, needing_scales, scale_table, scales_from_stage
from txray.corpus.corpus import Corpus
from txray.errors import CaptureError
from txray.models.fingerprint import model_fingerprint
from txray.preferences import Preferences, Stage
from txray.preferences.dominance import wins_of
from txray.preferences.stage_warnings import stage_warnings
from txray.preferences.tags import tag_table


class SinglePass:
    """The engine of every collection that names no other."""

    def collect(self, request: CollectRequest) -> Stage:
        """Read everything, here and now."""
        collection = Collection(request)
        source = request.source()
        collection.require_memory(source)
        checkpoints: Checkpoints = NoCheckpoints()
        if request.checkpoint is not None:
            described = collection.described(source)
            checkpoints = FolderCheckpoints(request.checkpoint, described, request.checkpoint_seconds)
        scales = request.scales
        if collection.needs_scales:
            tallies = collection.scale_tallies()
            collection.measure(source, tallies, checkpoints)
            scales = measured_scales(request.name, tallies)
        return collection.stage(source, scales, checkpoints, max_words=request.max_words)


class Collection:
    """A request whose model has been looked at: ready to read, all documents or part after part of them."""

    def __init__(self, request: CollectRequest) -> None:
        """Find the layers and how to read for the model.

        Raises:
            TxrayError: as `txray.collect` does where it is not for the encoded.
        """
        self.request = request
        self._adapter = adapter_for(
            request.model,
            outputs=OUTPUT in request.feature_types,
            autocast=request.autocast,
            corpus=request.corpus,
        )
        self._hook_points = hook_points_for(self._adapter, request.layers, request.selection)
        settle_padding(self._adapter, self._hook_points)
        for hook_point in self._hook_points:
            hook_point.require(request.feature_types)
        self._fingerprint = model_fingerprint(self._adapter.module)
        self._needed = 0

    def described(self, corpus: Corpus) -> dict[str, Any]:
        """Everything that the result depends on, as plain JSON values."""
        request = self.request
        return {
            "name": request.name,
            "model": self._fingerprint,
            "reading code": self._adapter.fingerprint,
            "corpus": corpus.fingerprint,
            "layers": [
                [hook_point.layer, *hook_point.described().values()] for hook_point in self._hook_points
            ],
            "feature_types": list(request.feature_types),
            "reading": self._adapter.settings,
            "folds": request.folds,
            "exemplars": request.exemplars,
            "batch_positions": request.batch_positions,
            "scales": None if request.scales is None else request.scales.scales.write_json(),
        }

    def require_memory(self, corpus: Corpus, memory: int | None = None) -> None:
        """Refuse documents whose tallies cannot fit; see `txray.capture.estimate`.

        Args:
            corpus: to be read.
            memory: bytes that may be used where the request does not say.

        Raises:
            UsageError: they cannot.
        """
        allowed = memory if self.request.memory is None else self.request.memory
        self._needed = require_memory(
            self._hook_points, self._adapter, corpus, self.request.feature_types, self.request.folds, allowed
        )

    @property
    def needs_scales(self) -> bool:
        """Whether a pass over all documents has to find means and deviations first."""
        return self.request.scales is None and bool(needing_scales(self._hook_points))

    def scale_tallies(self) -> list[ScaleTally]:
        """One for each layer that needs scales, empty."""
        return [ScaleTally(hook_point) for hook_point in needing_scales(self._hook_points)]

    def measure(self, corpus: Corpus, tallies: Sequence[ScaleTally], checkpoints: Checkpoints) -> None:
        """Add the activations at all words of these documents to `tallies`."""
        first = checkpoints.of("scales")
        stream = DocumentStream(corpus, self._adapter, tagged=False)
        doing = f"scales of {self.request.name}"
        run(self._adapter, stream, tallies, self.request.batch_positions, doing, None, first)
        first.complete(tallies)

    def stage(
        self,
        corpus: Corpus,
        scales: Scales | None,
        checkpoints: Checkpoints,
        *,
        max_words: int | None = None,
    ) -> Stage:
        """What the neurons prefer in these documents.

        Args:
            corpus: the documents.
            scales: of all layers that standardize; None where none does.
            checkpoints: that an interrupted pass goes on from.
            max_words: how many there are, where that is known, for the progress bar.
        """
        request = self.request
        hook_points = self._hook_points if scales is None else scales_from_stage(self._hook_points, scales)
        tallies = [
            LayerTally(hook_point, request.feature_types, request.folds, request.exemplars)
            for hook_point in hook_points
        ]
        stream = DocumentStream(corpus, self._adapter, tagged={"token", "pos"} <= set(request.feature_types))
        doing = f"collecting {request.name}"
        if self._needed:
            doing += f" (tallies up to {format_bytes(self._needed)})"
        passing = checkpoints.of("tallies")
        run(self._adapter, stream, tallies, request.batch_positions, doing, max_words, passing)
        return self._stage(corpus, tallies, stream)

    def _stage(self, corpus: Corpus, tallies: Sequence[LayerTally], stream: DocumentStream) -> Stage:
        name = self.request.name
        collected: dict[tuple[str, str], Preferences] = {}
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
                **tally.hook_point.described(),
                **tally.hook_point.observed(),
            }
        documents = stream.documents.table()
        read = {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            "documents": stream.n_documents,
            "documents_digest": stream.digest,
            "documents_skipped": dict(sorted(corpus.skipped.items())),
            **stream.documents.counts(),
            **shard_of(corpus),
        }
        manifest = {
            "model": {"type": self._adapter.name, "fingerprint": self._fingerprint},
            "reading": self._adapter.settings,
            "corpus": read,
            "exemplars": self.request.exemplars,
            "words": stream.n_words,
            "unknown_words": stream.n_unknown,
            "unknown_share": stream.n_unknown / stream.n_words,
            "layers": accounts,
            "selection": str(self.request.selection),
            "warnings": [
                str(warning)
                for warning in stage_warnings(wins_of(collected, accounts), accounts, read, stream.n_words)
            ],
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in ("txray", "torch", "numpy", "polars")},
            },
        }
        exemplars = pl.concat([tally.exemplars() for tally in tallies])
        tags, scales = tag_table(stream.tags), scale_table(tally.hook_point for tally in tallies)
        return Stage(name, collected, exemplars, manifest, tags, scales, documents)


def shard_of(corpus: Corpus) -> dict[str, Any]:
    """For the manifest: which part of which corpus this is, if it is one."""
    part = corpus.part
    if part is None:
        return {}
    whole = {"name": part.whole.name, "fingerprint": part.whole.fingerprint}
    return {"shard": {"number": part.number, "of": part.of, **whole}}
