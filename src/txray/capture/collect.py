"""Collect a stage from a model and a corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from txray.activations.writer import SaveActivations
from txray.capture.layer import Layer, as_layers
from txray.capture.model_adapter import Autocast
from txray.capture.output.output_tokens import computed_output_tokens
from txray.capture.request import CollectRequest, Engine
from txray.capture.scales import Scales
from txray.capture.selection import Selection
from txray.capture.single_pass import SinglePass
from txray.corpus.corpus import Corpus
from txray.errors import warn_user
from txray.models.load import as_source
from txray.preferences import Stage
from txray.preferences.folds import DEFAULT_FOLDS
from txray.preferences.histograms import feature_lists
from txray.preferences.stage_like import StageLike, as_stage
from txray.preferences.stage_warnings import stage_warnings, wins_of


def collect(
    model: object,
    corpus: Corpus,
    *,
    name: str,
    layers: str | Layer | Sequence[str | Layer] = "rnn",
    feature_types: str | Sequence[str] = "token",
    selection: Selection | str = "max-1",
    max_words: int | None = None,
    folds: int = DEFAULT_FOLDS,
    exemplars: int = 8,
    batch_positions: int = 16_384,
    scales: StageLike | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 60.0,
    memory: int | None = None,
    autocast: Autocast | None = None,
    output_tokens: int = 0,
    engine: Engine | None = None,
    save_activations: SaveActivations | Path | str | None = None,
    concepts: str | Sequence[str] | Mapping[str, Sequence[str] | None] | None = None,
) -> Stage:
    """Run a model over a corpus and return what its neurons prefer.

    The model runs in evaluation mode, on its own device, and is restored afterwards.

    >>> corpus = txray.demo_corpus("reviews", words=500)
    >>> model = txray.models.language_model("gru", corpus, hidden=8)
    >>> stage = txray.collect(model, corpus, name="untrained", feature_types=["token", "pos"])
    >>> stage.layers, stage.feature_types
    (('rnn',), ('token', 'pos'))

    Args:
        model: a language model or classifier of `txray.models`, a Hugging Face model loaded by `txray.load_model`, any
            module in a `TextModel`; or what `txray.load_model` and `txray.models.from_transformers` take: a name or
            folder, a pipeline of transformers, a `SentenceTransformer`, or a model of nnsight or TransformerLens. Or
            stored activations, see `txray.read_activations`.
        corpus: the documents.
        name: name of the stage, e.g. `unsup`.
        layers: one or several of: names of modules, such as `rnn`; patterns, such as `encoder.layer.*.intermediate`;
            `Layer` objects, which also specify layout, lag and selection. `act:call=0` is the first call of a layer
            that runs several times, `down_proj:input` the input of a layer. The layout of an output (documents, time,
            neurons) is determined by dry runs.
        feature_types: one or several of `token`, `output` (what the model predicts after the word: the most likely next
            word or piece, or the class of the document), `label`, `subword` (pieces of words, if the model reads
            pieces), and the names of annotations such as `pos`.
        selection: which activations count.
        max_words: maximum number of words to read; all by default.
        folds: number of disjoint groups of documents, used by the tests of changes.
        exemplars: number of strongest occurrences stored per neuron.
        batch_positions: maximum number of padded positions in a batch. It affects speed and memory, and the result only
            by the rounding of the model's own arithmetic.
        scales: a stage, or its folder, whose means and standard deviations standardize this one, and whose bins of
            activations are used. By default, the scales are measured in a first pass over the corpus if a selection
            standardizes, and the bins at a sample of the documents if there are concepts.
        checkpoint: folder that the stage will be saved to. Intermediate results are stored in it, and after an
            interruption the same call resumes and gives the same bytes. No checkpoints by default.
        checkpoint_seconds: time between two checkpoints.
        memory: maximum size of the tallies in bytes; most of the free memory by default. Selections that may credit
            every neuron for every word are estimated from the text, and refused before the model runs if they do not
            fit.
        autocast: `bfloat16` or `float16`: dtype for the operations for which PyTorch considers it safe; faster on
            devices made for it, and less exact. The model's own dtype by default.
        output_tokens: number of tokens that each neuron promotes and suppresses most, to be stored in the stage; see
            `txray.output_tokens`. None by default.
        save_activations: folder that the activations of the layers are saved to, at every piece of every word that the
            model reads, before any selection; or `SaveActivations` with more options. With `checkpoint`, an
            interrupted call resumes there, too. `txray.read_activations(folder)` takes the place of the model later,
            and gives the same stage. Not saved by default.
        concepts: feature types, such as `pos`, whose features are concepts to look for in neurons, or a mapping to
            these features, such as `{"token": ["the", "of"]}`: the activations of each neuron are counted in bins, from
            which `txray.rank_neurons` ranks the neurons of the stage. They must be among `feature_types`. None by
            default.
        engine: carries out the collection, e.g. `txray.engines.Ray(workers=8)`; one pass in this process by default.

    Returns:
        The stage. Its manifest accounts for every word: words read = counted + skipped, by reason.

    Raises:
        UnknownNameError: unknown layer, feature type, selection or dtype.
        UsageError: no layer or feature type, a type of model that txray cannot read with, not enough memory, or the
            checkpoint of another collection.
        CorpusError: the corpus is empty, or lacks what a feature type needs.
        StageError: the checkpoint is damaged.
        OutputError: the checkpoint cannot be written, or its folder holds something else.
        CaptureError: activations that are not finite, or of another shape; a layer that cannot be observed, runs more
            often for some inputs than for others, or has more steps than the input without a `lag`.
        EngineError: workers cannot be reached or keep crashing.

    Warns:
        DominanceWarning: one neuron wins more than half of all words.
        DuplicateWarning: more than 1% of the words are in documents that repeat another.
        PaddingWarning: the model's `reads_padding` is True, but padding changes a layer.
        RepeatedCallWarning: a layer runs several times in a forward pass, and no call was chosen.
        RandomPassWarning: a layer gives different activations for the same input.
        EmptyLayerWarning: no word of a layer was counted.
        PowerWarning: `max-k` leaves the neurons of a layer so few words that hardly any change would be detected; the
            message names the selections to take instead. Not for the recurrent models of txray.

    Source:
        Rethmeier et al. 2020, section 2.1.
    """
    scales = None if scales is None else as_stage(scales)
    opened = as_source(model)
    request = CollectRequest(
        model=opened,
        corpus=corpus,
        layers=tuple(as_layers(layers)),
        feature_types=(feature_types,) if isinstance(feature_types, str) else tuple(feature_types),
        selection=Selection.parse(selection),
        name=name,
        max_words=max_words,
        folds=folds,
        exemplars=exemplars,
        batch_positions=batch_positions,
        scales=None if scales is None else Scales(scales.name, scales.scales, scales.bin_edges()),
        checkpoint=None if checkpoint is None else Path(checkpoint),
        checkpoint_seconds=checkpoint_seconds,
        memory=memory,
        autocast=autocast,
        save_activations=save_activations
        if save_activations is None or isinstance(save_activations, SaveActivations)
        else SaveActivations(save_activations),
        concepts=feature_lists(concepts),
    )
    # Before the text is read, because it may be refused.
    tokens = computed_output_tokens(opened, request.layers, output_tokens) if output_tokens else None
    stage = (engine or SinglePass()).collect(request)
    if tokens is not None:
        entry = {"output_tokens": tokens.settings}
        stage = replace(stage, output_tokens=tokens.table, manifest={**stage.manifest, **entry})
    manifest = stage.manifest
    wins = wins_of(stage.collected, manifest["layers"])
    for warning in stage_warnings(wins, manifest["layers"], manifest["corpus"], manifest["words"]):
        warn_user(warning)
    return stage
