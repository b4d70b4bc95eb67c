"""From a model and a corpus to a stage."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from txray.capture.checkpoint import Checkpoints, FolderCheckpoints, NoCheckpoints
from txray.capture.estimate import as_size, require_memory
from txray.capture.features import OUTPUT, SUBWORD
from txray.capture.fingerprint import model_fingerprint
from txray.capture.layer_tally import LayerTally
from txray.capture.layers import Layer, sites_of
from txray.capture.loop import Intake, run
from txray.capture.reading import Reader, reader_of
from txray.capture.scales import scale_table, standardized
from txray.capture.selection import Selection
from txray.corpus.corpus import Corpus
from txray.errors import CaptureError, DominanceWarning, UsageError
from txray.models.text_model import TextModel
from txray.preferences import Preferences, Stage
from txray.preferences.folds import DEFAULT_FOLDS
from txray.preferences.stage import require_names
from txray.preferences.tags import tag_table


def collect(
    model: nn.Module | TextModel,
    corpus: Corpus,
    layers: Sequence[str | Layer] = ("rnn",),
    features: Sequence[str] = ("token",),
    selection: Selection | str = "max-1",
    *,
    name: str,
    max_words: int | None = None,
    folds: int = DEFAULT_FOLDS,
    exemplars: int = 8,
    batch_positions: int = 16_384,
    scales: Stage | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 60.0,
    memory: int | None = None,
    autocast: str | None = None,
) -> Stage:
    """Run a model over a corpus and collect what its neurons prefer.

    The model runs in evaluation mode, on the device it is on, and is left as it was.

    Args:
        model: a language model or classifier of `txray.models`, a Hugging Face model loaded by
            `txray.load_model`, or any module in a `TextModel`.
        corpus: the documents.
        layers: names of modules, such as `rnn`, patterns, such as `encoder.layer.*.intermediate`, or `Layer` objects,
            which also say how to read the output and what counts there. How an output lays out documents, time
            and neurons is found out by a dry run.
        features: feature kinds: `token`, `output` (what the model predicts), `label`, `subword` (pieces of words,
            for models that read such), or the name of an annotation such as `pos`.
        selection: which activations count.
        name: of the stage, e.g. `unsup`.
        max_words: read this many words of the corpus; all by default.
        folds: disjoint groups of documents, for the statistics of change.
        exemplars: strongest occurrences kept per neuron.
        batch_positions: padded positions in a batch; changes speed and memory, and the result only by the rounding
            of the model's own arithmetic.
        scales: a stage whose means and standard deviations standardize this one; by default, where a selection
            standardizes, a first pass over the corpus computes them.
        checkpoint: the folder that the stage will be saved to; what is done so far is kept there, and the same call
            goes on from it after an interruption, to the same bytes. Not kept by default.
        checkpoint_seconds: between two checkpoints.
        memory: bytes that the tallies may take; most of what is free by default. Selections that may credit every
            neuron of every word are estimated from the text, and refused before the model runs if they cannot fit.
        autocast: `bfloat16` or `float16`: operations of the model run in this number type where that is safe, faster
            on devices made for it and less exact; by default they run in the model's own.

    Returns:
        The stage. Its manifest accounts for every word: words read = counted + skipped, by reason.

    Raises:
        UnknownNameError: no such layer, feature, selection or number type.
        UsageError: nothing asked for, a kind of model that collect cannot read for, more memory needed than
            there is, or the checkpoint is of another collection.
        CorpusError: the corpus is empty or lacks what a feature needs.
        StageError: the checkpoint is damaged.
        OutputError: the checkpoint cannot be written.
        CaptureError: activations that are not numbers, or of another shape.

    Warns:
        DominanceWarning: one neuron wins more than half of all words.

    Source:
        Rethmeier et al. 2020, section 2.1.
    """
    chosen = Selection.parse(selection) if isinstance(selection, str) else selection
    for what, asked in (("layers", layers), ("features", features)):
        if isinstance(asked, str) or not asked or len(set(asked)) != len(asked):
            raise UsageError(f"collect: {what}={asked!r}; give a list of at least one name, each once")
    require_names(name, features)
    if exemplars < 0:
        raise UsageError(f"collect: exemplars={exemplars}; must not be negative")
    source = corpus if max_words is None else corpus.take(max_words)
    reader = reader_of(model, outputs=OUTPUT in features, autocast=autocast)
    sites = sites_of(reader, layers, chosen)
    for site in sites:
        site.require(features)
    needed = require_memory(sites, reader, source, features, folds, memory)
    fingerprint = model_fingerprint(reader.module)
    checkpoints: Checkpoints = NoCheckpoints()
    if checkpoint is not None:
        request = {
            "name": name,
            "model": fingerprint,
            "corpus": source.fingerprint,
            "layers": [[site.layer, *site.described().values()] for site in sites],
            "features": list(features),
            "reading": reader.settings,
            "folds": folds,
            "exemplars": exemplars,
            "batch_positions": batch_positions,
            "scales": None if scales is None else scales.scales.write_json(),
        }
        checkpoints = FolderCheckpoints(Path(checkpoint), request, checkpoint_seconds)
    sites = standardized(
        sites, reader, source, batch_positions, scales=scales, stage=name, checkpoints=checkpoints
    )
    tallies = [LayerTally(site, features, folds, exemplars) for site in sites]
    intake = Intake(source, reader, tagged={"token", "pos"} <= set(features))
    doing = f"collecting {name}" + (f" (tallies up to {as_size(needed)})" if needed else "")
    run(reader, intake, tallies, batch_positions, doing, max_words, checkpoints.of("tallies"))
    return _stage(name, reader, fingerprint, source, chosen, tallies, intake)


def _stage(
    name: str,
    reader: Reader,
    fingerprint: str,
    corpus: Corpus,
    selection: Selection,
    tallies: Sequence[LayerTally],
    intake: Intake,
) -> Stage:
    collected: dict[tuple[str, str], Preferences] = {}
    accounts = {}
    for tally in tallies:
        layer = tally.site.layer
        for preferences in tally.freeze(name):
            if not np.isfinite(preferences.sum_sq).all():
                raise CaptureError(
                    f"layer {layer!r}: activations up to {preferences.max.max():.3g} are too large to be squared and "
                    "summed; the model's weights are broken, or its activations overflow"
                )
            collected[layer, preferences.feature] = preferences
        skipped = tally.skipped + intake.unread
        accounted = tally.counted + skipped.total()
        if accounted != intake.n_words:
            raise CaptureError(
                f"stage {name!r}: layer {layer!r} accounts for {accounted} of {intake.n_words} words; "
                "please report this as a bug"
            )
        accounts[layer] = {
            "counted": tally.counted,
            "skipped": dict(sorted(skipped.items())),
            **tally.site.described(),
        }
    dominance = list(_dominance(collected, tallies))
    for line in dominance:
        warnings.warn(line, DominanceWarning, stacklevel=3)
    manifest = {
        "model": {"type": reader.name, "fingerprint": fingerprint},
        "reading": reader.settings,
        "corpus": {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            "documents": intake.n_documents,
            "documents_digest": intake.digest,
            "documents_skipped": dict(sorted(corpus.skipped.items())),
            **_shard(corpus),
        },
        "exemplars": tallies[0].exemplars_kept,
        "words": intake.n_words,
        "unknown_words": intake.n_unknown,
        "unknown_share": intake.n_unknown / intake.n_words,
        "layers": accounts,
        "selection": str(selection),
        "warnings": dominance,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("txray", "torch", "numpy", "polars")},
        },
    }
    exemplars = pl.concat([tally.exemplars() for tally in tallies])
    return Stage(
        name, collected, exemplars, manifest, tag_table(intake.tags), scale_table(t.site for t in tallies)
    )


def _shard(corpus: Corpus) -> dict[str, Any]:
    part = corpus.part
    if part is None:
        return {}
    whole = {"name": part.whole.name, "fingerprint": part.whole.fingerprint}
    return {"shard": {"number": part.number, "of": part.of, **whole}}


def _dominance(
    collected: Mapping[tuple[str, str], Preferences], tallies: Sequence[LayerTally]
) -> Iterator[str]:
    """One line for each layer in which one neuron wins more than half of the words."""
    for tally in tallies:
        layer = tally.site.layer
        kinds = [kind for of_layer, kind in collected if of_layer == layer and kind != SUBWORD]
        if tally.site.selection.k != 1 or not kinds or not tally.counted:
            continue
        wins = collected[layer, kinds[0]].wins()
        neuron = int(wins.argmax())
        if wins[neuron] * 2 > tally.counted and len(wins) > 1:
            remedy = (
                "choose another layer"
                if tally.site.selection.standardize == "zscore"
                else f"collect with the selection '{tally.site.selection}/zscore', or choose another layer"
            )
            yield (
                f"layer {layer!r}: neuron {neuron} wins {wins[neuron] / tally.counted:.0%} of all words, so the others "
                f"hardly show; {remedy}"
            )
