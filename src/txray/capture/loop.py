"""The one loop: documents in, batches through the model, chunks of activations to whoever consumes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor

from txray.capture.batching import batches
from txray.capture.checkpoint import PassCheckpoint
from txray.capture.encoding import ModelInput
from txray.capture.hook_point import HookPoint
from txray.capture.hooks import capturing, evaluating
from txray.capture.model_adapter import ForwardChunk, ModelAdapter
from txray.capture.prefetch import prefetched
from txray.corpus.corpus import Corpus, document_digest
from txray.corpus.document import words_key
from txray.models.base_model import input_device
from txray.models.vocabulary import UNKNOWN
from txray.preferences.documents import DocumentTally
from txray.progress import progress


class Consumer(Protocol):
    """What takes the activations of one layer."""

    @property
    def hook_point(self) -> HookPoint:
        """Where the activations come from."""

    def update(self, output: Tensor, batch: list[ModelInput], chunk: ForwardChunk) -> None:
        """Take the output of the layer for one chunk."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything it holds, as arrays."""

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was taken from."""


class DocumentStream:
    """Documents on their way into the model, counted and hashed.

    Attributes:
        tags: how often each (token, tag) pair occurred.
        documents: their texts and groups, as hashes.
        n_documents, n_words, n_unknown: read so far; unknown words are those that the model sees as `<unk>`.
        unread: words that the model does not read, by reason.
    """

    def __init__(self, corpus: Corpus, adapter: ModelAdapter, *, tagged: bool) -> None:
        """Read `corpus` for `adapter`; `tagged`: count the tags of tokens."""
        self.tags: Counter[tuple[str, str]] = Counter()
        self.documents = DocumentTally()
        self.n_documents = 0
        self.n_words = 0
        self.n_unknown = 0
        self.unread: Counter[str] = Counter()
        self._tagged = tagged
        self._digest = 0
        self._corpus = corpus
        self._adapter = adapter

    def inputs(self) -> Iterator[ModelInput]:
        """What the documents become."""
        for document in self._corpus:
            encoded, inputs = self._adapter.encode(document)
            self.n_documents += 1
            alone = document.group is None
            # The words of a document are hashed once: its fold may follow from them already.
            key = encoded.fold_key if alone and document.cut_from is None else words_key(document.words)
            self.documents.add(key, len(document.words), None if alone else encoded.fold_key)
            self.n_words += len(document.words)
            self.n_unknown += encoded.forms.count(UNKNOWN)
            self.unread += encoded.skipped
            if self._tagged and "pos" in document.annotations:
                self.tags.update(zip(encoded.forms, document.annotations["pos"], strict=True))
            # A sum does not depend on the order of the documents.
            self._digest += int.from_bytes(document_digest(document), "little")
            yield from inputs

    @property
    def digest(self) -> str:
        """Hash of the documents read, whatever their order."""
        return f"{self._digest % (1 << 256):064x}"


def run(
    adapter: ModelAdapter,
    stream: DocumentStream,
    consumers: Sequence[Consumer],
    batch_positions: int,
    description: str,
    max_words: int | None,
    checkpoints: PassCheckpoint,
) -> None:
    """Run the model over all documents, once.

    Args:
        adapter: of the model, which runs in evaluation mode and is left as it was.
        stream: the documents.
        consumers: one per layer.
        batch_positions: padded positions in a batch.
        description: for the progress bar.
        max_words: how many there are, where that is known.
        checkpoints: that an interrupted run goes on from: it reads the documents again, without the model, up to
            the batch where the last checkpoint was made.
    """
    with (
        capturing(adapter.module, [consumer.hook_point.tap for consumer in consumers]) as captured,
        evaluating(adapter.module, adapter.autocast),
        progress(description, max_words) as advance,
    ):
        done = checkpoints.restore(consumers)
        made = batches(stream.inputs(), batch_positions, padded=adapter.padded)
        # Beside a model on the processor, another thread would only take its turns from it.
        if input_device(adapter.module).type != "cpu":
            made = prefetched(made)
        for number, batch in enumerate(made, 1):
            if number > done:
                for chunk in adapter.chunks(batch):
                    for consumer in consumers:
                        consumer.update(captured.take(consumer.hook_point.layer), batch, chunk)
                checkpoints.offer(number, consumers)
            advance(sum(len(model_input.words) for model_input in batch))
