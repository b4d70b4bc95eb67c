"""The main loop: run batches of documents through the model and pass chunks of activations to the consumers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from txray.capture.batching import batches
from txray.capture.checkpoint import PassCheckpoint
from txray.capture.encoding import ModelInput
from txray.capture.hook_point import ChunkActivations, HookPoint
from txray.capture.hooks import Captured, capturing, evaluating
from txray.capture.model_adapter import ModelAdapter
from txray.capture.prefetch import prefetched
from txray.capture.recording import ForwardPass, Recording
from txray.corpus.corpus import Corpus, document_digest
from txray.corpus.document import words_key
from txray.models.base_model import input_device
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


class DocumentStream:
    """A stream of documents, encoded, counted and hashed as they are read.

    Attributes:
        tags: number of occurrences of each (token, tag) pair.
        documents: hashes of the texts and groups.
        n_documents, n_words, n_unknown: counts so far; unknown words are those that the model sees as `<unk>`.
        unread: number of words that the model does not read, by reason.
        read_as: number of documents by how their text was read, see `Pieces`; empty for models that read words.
    """

    def __init__(self, corpus: Corpus, adapter: ModelAdapter, *, tagged: bool) -> None:
        """Read `corpus` for `adapter`, and count the tags of tokens if `tagged`."""
        self.tags: Counter[tuple[str, str]] = Counter()
        self.documents = DocumentTally()
        self.n_documents = 0
        self.n_words = 0
        self.n_unknown = 0
        self.unread: Counter[str] = Counter()
        self.read_as: Counter[str] = Counter()
        self._tagged = tagged
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
            yield from inputs

    @property
    def digest(self) -> str:
        """Return a hash of the documents read, independent of their order."""
        return f"{self._digest % (1 << 256):064x}"


def run(
    adapter: ModelAdapter,
    stream: DocumentStream,
    consumers: Sequence[Consumer],
    batch_positions: int,
    description: str,
    max_words: int | None = None,
    checkpoint: PassCheckpoint | None = None,
    *,
    record: Recording | None = None,
    replay: Recording | None = None,
) -> None:
    """Run the model over all documents, once.

    The stream gives inputs of the model; each forward pass over a batch of them gives chunks of words; each hook point
    turns its tensor into the activations of these words; and these go to its consumer.

    Args:
        adapter: adapter of the model, which runs in evaluation mode and is restored afterwards.
        stream: the documents.
        consumers: one per layer.
        batch_positions: maximum number of padded positions in a batch.
        description: text of the progress bar.
        max_words: number of words, if known.
        checkpoint: state of the consumers to resume from: the batches that it covers are read again, but not run.
        record: stores the outputs of the layers of this pass.
        replay: outputs that another pass over the same documents and layers stored, used instead of running the model.
    """
    with (
        capturing(adapter.module, [consumer.hook_point.tap for consumer in consumers]) as captured,
        evaluating(adapter.module, adapter.autocast),
        progress(description, max_words) as advance,
    ):
        done = 0 if checkpoint is None else checkpoint.restore()
        model_batches = batches(stream.inputs(), batch_positions, padded=adapter.padded)
        # Next to a model on the CPU, another thread would only compete with it.
        if input_device(adapter.module).type != "cpu":
            model_batches = prefetched(model_batches)
        for number, batch in enumerate(model_batches, 1):
            if number > done:
                passes: Iterable[ForwardPass] | None = (
                    None if replay is None else replay.replay(number, batch)
                )
                if passes is None:
                    passes = _forward(adapter, batch, consumers, captured)
                if record is not None:
                    passes = record.record(number, passes)
                for chunk, outputs in passes:
                    if len(chunk.row):
                        for consumer, output in zip(consumers, outputs, strict=True):
                            for activations in consumer.hook_point.read(output, chunk):
                                consumer.update(activations)
                if checkpoint is not None:
                    checkpoint.offer(number)
            advance(sum(len(model_input.words) for model_input in batch))


def _forward(
    adapter: ModelAdapter, batch: list[ModelInput], consumers: Sequence[Consumer], captured: Captured
) -> Iterator[ForwardPass]:
    """Run the model over a batch, and yield the words of each forward pass with the output of each layer."""
    for chunk in adapter.chunks(batch):
        yield chunk, [consumer.hook_point.take(captured) for consumer in consumers]
