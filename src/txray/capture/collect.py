"""From a model and a corpus to a stage."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from txray.capture.layers import Layer
from txray.capture.request import CollectRequest, Engine
from txray.capture.selection import Selection
from txray.capture.single_pass import SinglePass
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.models.text_model import TextModel
from txray.preferences import Stage
from txray.preferences.dominance import wins_of
from txray.preferences.folds import DEFAULT_FOLDS
from txray.preferences.stage_warnings import stage_warnings


def collect(
    model: nn.Module | TextModel,
    corpus: Corpus,
    layers: Sequence[str | Layer] = ("rnn",),
    feature_types: Sequence[str] = ("token",),
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
    engine: Engine | None = None,
) -> Stage:
    """Run a model over a corpus and collect what its neurons prefer.

    The model runs in evaluation mode, on the device it is on, and is left as it was.

    Args:
        model: a language model or classifier of `txray.models`, a Hugging Face model loaded by
            `txray.load_model`, or any module in a `TextModel`.
        corpus: the documents.
        layers: names of modules, such as `rnn`, patterns, such as `encoder.layer.*.intermediate`, or `Layer` objects,
            which also say how to read the output and what counts there. `act:call=0` is the first call of a layer that
            runs several times, `down_proj:input` what a layer is given. How an output lays out documents, time and
            neurons is found out by a dry run.
        feature_types: feature types: `token`, `output` (what the model predicts), `label`, `subword` (pieces of words,
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
        engine: what carries it out, such as `txray.engines.Ray(workers=8)`; one pass in this process by default.

    Returns:
        The stage. Its manifest accounts for every word: words read = counted + skipped, by reason.

    Raises:
        UnknownNameError: no such layer, feature, selection or number type.
        UsageError: nothing requested for, a kind of model that collect cannot read for, more memory needed than
            there is, or the checkpoint is of another collection.
        CorpusError: the corpus is empty or lacks what a feature needs.
        StageError: the checkpoint is damaged.
        OutputError: the checkpoint cannot be written, or its folder holds something else.
        CaptureError: activations that are not numbers, or of another shape; a layer that cannot be observed, runs more
            often for some inputs than for others, or has more steps than the input without a `lag` that says why.
        EngineError: workers of an engine that cannot be reached, or that end again and again.

    Warns:
        DominanceWarning: one neuron wins more than half of all words.
        DuplicateWarning: more than 1% of the words are in documents that repeat the words of another.
        PaddingWarning: the model's `reads_padding` is True, and padding changes a layer.
        RepeatedCallWarning: a layer runs several times in a forward pass, and no call was named.
        RandomPassWarning: a layer gives different activations for the same input.
        EmptyLayerWarning: no word of a layer was counted.

    Source:
        Rethmeier et al. 2020, section 2.1.
    """
    for what, requested in (("layers", layers), ("feature_types", feature_types)):
        if isinstance(requested, str):  # a sequence, too, of its letters
            raise UsageError(f"collect: {what}={requested!r}; give a list of at least one name, each once")
    request = CollectRequest(
        model=model,
        corpus=corpus,
        layers=tuple(layers),
        feature_types=tuple(feature_types),
        selection=Selection.parse(selection) if isinstance(selection, str) else selection,
        name=name,
        max_words=max_words,
        folds=folds,
        exemplars=exemplars,
        batch_positions=batch_positions,
        scales=scales,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        checkpoint_seconds=checkpoint_seconds,
        memory=memory,
        autocast=autocast,
    )
    stage = (engine or SinglePass()).collect(request)
    manifest = stage.manifest
    wins = wins_of(stage.collected, manifest["layers"])
    for warning in stage_warnings(wins, manifest["layers"], manifest["corpus"], manifest["words"]):
        warnings.warn(warning, stacklevel=2)
    return stage
