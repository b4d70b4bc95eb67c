"""The main loop: run batches of documents through the model and pass chunks of activations to the consumers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from torch import Tensor

from txray.capture.checkpoint import PassCheckpoint
from txray.capture.forward.routes import RoutedRows
from txray.capture.hook_point import ChunkActivations, HookPoint
from txray.capture.output_cache import ForwardPass, OutputCache
from txray.capture.source import ActivationSource
from txray.capture.text.encoding import EncodedDocument, ModelInput
from txray.capture.text.forward_chunk import ForwardChunk
from txray.corpus.corpus import Corpus, document_digest
from txray.corpus.document import words_key
from txray.models.vocabulary import UNKNOWN
from txray.preferences.documents import DocumentTally
from txray.progress import progress


class Consumer(Protocol):
    """A receiver of the activations of one layer."""

    @property
    def hook_point(self) -> HookPoint:
        """Return the source of the activations."""

    def update(self, activations: ChunkActivations) -> None:
        """Process the activations of one chunk, which has at least one word."""


class Recorder(Protocol):
    """Stores documents and the activations of all layers."""

    def add_document(self, encoded: EncodedDocument, inputs: Sequence[ModelInput]) -> None:
        """Store a document, in the order of the corpus, before any of its activations."""

    def update(self, chunk: ForwardChunk, tensors: Sequence[Tensor | RoutedRows]) -> None:
        """Store the tensor of each layer for a chunk that has at least one word."""


class DocumentStream:
    """A stream of documents, encoded, counted and hashed as they are read.

    Attributes:
        tags: number of occurrences of each (token, tag) pair.
        documents: hashes of the texts and groups.
        n_documents, n_words, n_unknown: counts so far; unknown words are those that the model sees as `<unk>`.
        unread: number of words that the model does not read, by reason.
        read_as: number of documents by how their text was read, see `Pieces`; empty for models that read words.
    """

    def __init__(
        self, corpus: Corpus, adapter: ActivationSource, *, tagged: bool, recorder: Recorder | None = None
    ) -> None:
        """Read `corpus` for `adapter`, count the tags of tokens if `tagged`, and pass documents to `recorder`."""
        self.tags: Counter[tuple[str, str]] = Counter()
        self.documents = DocumentTally()
        self.n_documents = 0
        self.n_words = 0
        self.n_unknown = 0
        self.unread: Counter[str] = Counter()
        self.read_as: Counter[str] = Counter()
        self._tagged = tagged
        self._recorder = recorder
        self._digest = 0
        self._corpus = corpus
        self._adapter = adapter

    def inputs(self) -> Iterator[ModelInput]:
        """Yield the inputs of all documents."""
        for document in self._corpus:
            encoded, inputs = self._adapter.encode(document)
            self.n_documents += 1
            alone = document.group is None
            # Hash the words only once: the fold key of an ungrouped document is that hash already.
            key = encoded.fold_key if alone and document.cut_from is None else words_key(document.words)
            self.documents.add(key, len(document.words), None if alone else encoded.fold_key)
            self.n_words += len(document.words)
            self.n_unknown += encoded.forms.count(UNKNOWN)
            self.unread += encoded.skipped
            if encoded.read_as:
                self.read_as[encoded.read_as] += 1
            if self._tagged and "pos" in document.annotations:
                self.tags.update(zip(encoded.forms, document.annotations["pos"], strict=True))
            # A sum does not depend on the order of the documents.
            self._digest += int.from_bytes(document_digest(document), "little")
            if self._recorder is not None:
                self._recorder.add_document(encoded, inputs)
            yield from inputs

    @property
    def digest(self) -> str:
        """Return a hash of the documents read, independent of their order."""
        return f"{self._digest % (1 << 256):064x}"


def run(
    adapter: ActivationSource,
    stream: DocumentStream,
    consumers: Sequence[Consumer],
    batch_positions: int,
    description: str,
    max_words: int | None = None,
    checkpoint: PassCheckpoint | None = None,
    recorder: Recorder | None = None,
    *,
    fill: OutputCache | None = None,
    cached: OutputCache | None = None,
) -> None:
    """Run the model over all documents, once.

    The stream gives inputs of the model; each forward pass over a batch of them gives chunks of words; each hook point
    turns its tensor into the activations of these words; and these go to its consumer.

    Args:
        adapter: adapter of the model, which runs in evaluation mode and is restored afterwards; or stored activations.
        stream: the documents.
        consumers: one per layer.
        batch_positions: maximum number of padded positions in a batch.
        description: text of the progress bar.
        max_words: number of words, if known.
        checkpoint: state of the consumers to resume from: the batches that it covers are read again, but not run.
        recorder: stores the tensors of all consumers' layers.
        fill: stores the outputs of the layers of this pass in memory.
        cached: outputs that another pass over the same documents and layers stored, used instead of reading again.
    """
    with (
        adapter.reading([consumer.hook_point.tap for consumer in consumers]) as read,
        progress(description, max_words) as advance,
    ):
        done = 0 if checkpoint is None else checkpoint.restore()
        for number, batch in enumerate(adapter.batches(stream.inputs(), batch_positions), 1):
            if number > done:
                passes: Iterable[ForwardPass] | None = None if cached is None else cached.take(number, batch)
                if passes is None:
                    passes = (
                        (chunk, [consumer.hook_point.take(outputs) for consumer in consumers])
                        for chunk, outputs in read(batch)
                    )
                if fill is not None:
                    passes = fill.store(number, passes)
                for chunk, tensors in passes:
                    if len(chunk.row):
                        if recorder is not None:
                            recorder.update(chunk, tensors)
                        for consumer, tensor in zip(consumers, tensors, strict=True):
                            for activations in consumer.hook_point.read(tensor, chunk):
                                consumer.update(activations)
                if checkpoint is not None:
                    checkpoint.offer(number)
            advance(sum(len(model_input.words) for model_input in batch))
