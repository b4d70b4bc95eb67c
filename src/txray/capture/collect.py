"""The one loop: run a model over a corpus and tally what its neurons prefer."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import polars as pl
from torch import nn

from txray.capture.batching import Encoded, batches
from txray.capture.features import OUTPUT
from txray.capture.hooks import capturing, evaluating
from txray.capture.layer_tally import LayerTally
from txray.capture.reading import Reader, reader_of
from txray.capture.selection import Selection
from txray.corpus.corpus import Corpus, document_digest
from txray.errors import CaptureError, UsageError
from txray.models.vocabulary import UNKNOWN
from txray.preferences import Preferences, Stage, document_key
from txray.preferences.folds import DEFAULT_FOLDS
from txray.preferences.tags import tag_table
from txray.progress import progress


def collect(
    model: nn.Module,
    corpus: Corpus,
    layers: Sequence[str] = ("rnn",),
    features: Sequence[str] = ("token",),
    selection: Selection | str = "max-1",
    *,
    name: str,
    max_words: int | None = None,
    folds: int = DEFAULT_FOLDS,
    exemplars: int = 8,
    batch_positions: int = 16_384,
) -> Stage:
    """Run a model over a corpus and collect what its neurons prefer.

    The model runs in evaluation mode, on the device it is on, and is left as it was.

    Args:
        model: a language model or classifier of `txray.models`.
        corpus: the documents.
        layers: names of modules whose outputs are (documents, time, neurons), e.g. `rnn`.
        features: feature kinds: `token`, `output` (what the model predicts), `label`, or the name of an
            annotation such as `pos`.
        selection: which activations count.
        name: of the stage, e.g. `unsup`.
        max_words: read this many words of the corpus; all by default.
        folds: disjoint groups of documents, for the statistics of change.
        exemplars: strongest occurrences kept per neuron.
        batch_positions: padded positions in a batch; changes speed and memory, not the result.

    Returns:
        The stage. Its manifest accounts for every word: words read = counted + skipped, by reason.

    Raises:
        UnknownNameError: no such layer, feature or selection.
        UsageError: nothing asked for, or a kind of model that collect cannot read for.
        CorpusError: the corpus is empty or lacks what a feature needs.
        CaptureError: activations that are not numbers, or of another shape.

    Source:
        Rethmeier et al. 2020, section 2.1.
    """
    chosen = Selection(selection) if isinstance(selection, str) else selection
    for what, asked in (("layers", layers), ("features", features)):
        if isinstance(asked, str) or not asked or len(set(asked)) != len(asked):
            raise UsageError(f"collect: {what}={asked!r}; give a list of at least one name, each once")
    if exemplars < 0:
        raise UsageError(f"collect: exemplars={exemplars}; must not be negative")
    source = corpus if max_words is None else corpus.take(max_words)
    reader = reader_of(model, outputs=OUTPUT in features)
    tallies = {layer: LayerTally(layer, features, chosen, folds, exemplars) for layer in layers}
    intake = _Intake(source, reader, tagged={"token", "pos"} <= set(features))
    with (
        capturing(model, layers) as captured,
        evaluating(model),
        progress(f"collecting {name}", max_words) as advance,
    ):
        for batch in batches(intake.documents(), batch_positions):
            keys = [document_key(encoded.document.id) for encoded in batch]
            for window in reader.windows(batch):
                for layer, tally in tallies.items():
                    tally.update(captured.take(layer), batch, keys, window)
            advance(sum(len(encoded.document.words) for encoded in batch))
    return _stage(name, model, source, chosen, tallies, intake)


class _Intake:
    """Documents on their way into the model, counted and hashed."""

    def __init__(self, corpus: Corpus, reader: Reader, *, tagged: bool) -> None:
        self.tags: Counter[tuple[str, str]] = Counter()
        self._tagged = tagged
        self.n_documents = 0
        self.n_words = 0
        self.n_unknown = 0
        self._digest = 0
        self._corpus = corpus
        self._reader = reader

    def documents(self) -> Iterator[Encoded]:
        """The documents, encoded."""
        for document in self._corpus:
            words = document.words
            encoded = Encoded(document, self._reader.forms(words), self._reader.encode(words))
            self.n_documents += 1
            self.n_words += len(document.words)
            self.n_unknown += encoded.forms.count(UNKNOWN)
            if self._tagged and "pos" in document.annotations:
                self.tags.update(zip(encoded.forms, document.annotations["pos"], strict=True))
            # A sum does not depend on the order of the documents.
            self._digest += int.from_bytes(document_digest(document), "little")
            yield encoded

    @property
    def digest(self) -> str:
        """Hash of the documents read, whatever their order."""
        return f"{self._digest % (1 << 256):064x}"


def _stage(
    name: str,
    model: nn.Module,
    corpus: Corpus,
    selection: Selection,
    tallies: dict[str, LayerTally],
    intake: _Intake,
) -> Stage:
    collected: dict[tuple[str, str], Preferences] = {}
    for layer, tally in tallies.items():
        for preferences in tally.freeze(name):
            collected[layer, preferences.feature] = preferences
        accounted = tally.counted + sum(tally.skipped.values())
        if accounted != intake.n_words:
            raise CaptureError(
                f"stage {name!r}: layer {layer!r} accounts for {accounted} of {intake.n_words} words; "
                "please report this as a bug"
            )
    manifest = {
        "model": {
            "type": type(model).__name__,
            "fingerprint": model_fingerprint(model),
        },
        "corpus": {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            "documents": intake.n_documents,
            "documents_digest": intake.digest,
            "documents_skipped": dict(sorted(corpus.skipped.items())),
        },
        "words": intake.n_words,
        "unknown_words": intake.n_unknown,
        "unknown_share": intake.n_unknown / intake.n_words,
        "layers": {
            layer: {"counted": tally.counted, "skipped": dict(sorted(tally.skipped.items()))}
            for layer, tally in tallies.items()
        },
        "selection": str(selection),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("txray", "torch", "numpy", "polars")},
        },
    }
    exemplars = pl.concat([tally.exemplars() for tally in tallies.values()])
    return Stage(name, collected, exemplars, manifest, tag_table(intake.tags))


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameter and buffer names, shapes and values."""
    digest = hashlib.sha256()
    state: dict[str, Any] = model.state_dict()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(repr((key, tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(tensor.view(-1).numpy().tobytes())
    return digest.hexdigest()
