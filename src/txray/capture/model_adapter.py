"""How a model reads documents: inputs in, one chunk of activations after the other out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from txray.capture.dry_run_inputs import min_input_length, padded_input, sample_words, text_ids
from txray.capture.encoding import EncodedDocument, Indices, ModelInput, inputs
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CaptureError, TxrayError, UnknownNameError, UsageError, in_one_line
from txray.identity import derived, identity_of
from txray.layer_patterns import layer_pattern
from txray.models.base_model import input_device, unwrapped
from txray.models.fingerprint import computation_fingerprint
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel
from txray.models.sentiment import SentimentClassifier
from txray.models.text_model import TextModel
from txray.preferences import Occurrence

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Number types that operations may run in instead of the model's own."""

_CHUNK_STEPS = 2048
"""Time steps of one call of a recurrent layer; longer documents carry their state on."""


@dataclass(frozen=True, eq=False)
class ForwardChunk:
    """What one forward pass over a batch, or a part of it, covers, as flat lists of words and their pieces.

    Attributes:
        row: (n_words,) which input of the batch.
        word: (n_words,) which word of its document, from 0; input by input, ascending.
        starts: (n_words,) where the pieces of each word begin in `step`.
        step: (n_pieces,) the time step of each piece in this pass.
        lengths: (n_inputs,) time steps of this pass that each input uses.
        steps: time steps of this pass in all.
        outputs: (n_words,) the model's output at each word; None where not requested for.
        probability: (n_inputs,) of the class `pos`; None where the model is no classifier.
        occurrences: those made so far, by input and word: one word is often the strongest of many neurons, in many
            layers.
    """

    row: Indices
    word: Indices
    starts: Indices
    step: Indices
    lengths: Indices
    steps: int
    outputs: list[str] | None = None
    probability: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    occurrences: dict[tuple[int, int], Occurrence] = field(default_factory=dict)

    @property
    def piece_row(self) -> Indices:
        """(n_pieces,) which input of the batch each piece belongs to."""
        return np.repeat(self.row, np.diff(self.starts, append=len(self.step)))


class ModelAdapter(Protocol):
    """How one kind of model reads documents."""

    @property
    def module(self) -> nn.Module:
        """What runs."""

    @property
    def name(self) -> str:
        """What the model is called in the records."""

    @property
    def pooling(self) -> str:
        """Which activation a word of several pieces has: `max`, `mean`, `first` or `last`."""

    @property
    def padded(self) -> bool:
        """Whether inputs of different length may be read together."""

    @property
    def autocast(self) -> torch.dtype | None:
        """The number type that operations of the model run in where that is safe; None for its own."""

    @property
    def settings(self) -> dict[str, Any]:
        """How documents are read, as plain JSON values for the records."""

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of how documents become inputs and what code runs; see `txray.identity`."""

    def encode(self, document: Document) -> tuple[EncodedDocument, list[ModelInput]]:
        """What a document becomes: an account of its words, and the inputs of the model."""

    def chunks(self, batch: list[ModelInput]) -> Iterator[ForwardChunk]:
        """Run the model over a batch; the captured layers hold a chunk's activations when it is yielded."""

    def dry_run(self, documents: int, steps: int) -> int:
        """Run the model over an input of this size, or a shorter one where it cannot read so much.

        Returns:
            The steps of the input.
        """

    def lag(self, layer: str) -> int | None:
        """Return the time steps by which a layer's outputs lag behind the input; None where nobody says."""


class RecurrentAdapter:
    """Reads for the word-level recurrent language models and classifiers.

    A document is `<eos> w1 ... wn <eos>`; the two ends are read and never counted.
    """

    pooling = "max"
    padded = True

    def __init__(self, model: RecurrentModel, *, outputs: bool, autocast: torch.dtype | None) -> None:
        """Read for `model`.

        Args:
            model: a language model or classifier.
            outputs: whether the model's outputs are wanted; a language model's decoder costs a multiple
                of its recurrent layer, so it runs only then.
            autocast: number type of its operations.
        """
        self.module = model
        self.autocast = autocast
        self.settings: dict[str, Any] = {"ends": "<eos>", **_recorded(autocast)}
        self.name = type(model).__name__
        self._model = model
        self._outputs = outputs
        self._lowered = [word.lower() for word in model.vocabulary.words]

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the words that the model knows and of the code that it runs."""
        pooling = getattr(self._model, "pooling", None)
        return derived(
            computation_fingerprint(self._model), self._model.vocabulary.fingerprint, pooling, self._outputs
        )

    def encode(self, document: Document) -> tuple[EncodedDocument, list[ModelInput]]:
        """The document between two `<eos>`, one input however long it is."""
        ids = self._model.encode(document.words)
        encoded = EncodedDocument.whole(document, list(map(self._lowered.__getitem__, ids[1:-1])))
        return encoded, [ModelInput.word_by_word(encoded, ids, first=1)]

    def chunks(self, batch: list[ModelInput]) -> Iterator[ForwardChunk]:
        """Run the model over a batch, chunk by chunk."""
        lengths = np.array([len(model_input.ids) for model_input in batch])
        ids = _padded(batch, 0, input_device(self._model))
        steps = ids.shape[1] if isinstance(self._model, SentimentClassifier) else _CHUNK_STEPS
        state = None
        for start in range(0, ids.shape[1], steps):
            hidden, state = self._model.hidden_states(ids[:, start : start + steps], state)
            time = start + np.arange(hidden.shape[1])
            row, step = np.nonzero((time >= 1) & (time < lengths[:, None] - 1))
            yield self._chunk(hidden, lengths, row, step, start)

    def dry_run(self, documents: int, steps: int) -> int:
        """Run the recurrent layer over `<unk>`."""
        ids = torch.zeros((documents, steps), dtype=torch.int64, device=input_device(self._model))
        self._model.hidden_states(ids)
        return steps

    def lag(self, layer: str) -> int | None:
        """Return None: outputs lie where the input does."""
        return None

    def _chunk(
        self, hidden: Tensor, lengths: Indices, row: Indices, step: Indices, start: int
    ) -> ForwardChunk:
        outputs: list[str] | None = None
        probability = None
        if isinstance(self._model, SentimentClassifier):
            pooled = self._model.pool(hidden, torch.from_numpy(lengths).to(hidden.device))
            score = self._model.head(pooled).squeeze(-1)
            _require_finite(score, "the classifier's score of a document")
            probability = torch.sigmoid(score).double().cpu().numpy()
            if self._outputs:
                predicted = [self._model.classes[int(value)] for value in probability >= 0.5]
                outputs = [predicted[i] for i in row]
        elif self._outputs and isinstance(self._model, RecurrentLanguageModel):
            place = torch.from_numpy(row * hidden.shape[1] + step).to(hidden.device)
            flat = hidden.reshape(-1, hidden.shape[-1])[place]
            best, score = self._model.predicted(flat)
            _require_finite(score, "the score of a predicted word")
            outputs = list(map(self._lowered.__getitem__, best.tolist()))
        here = np.clip(lengths - start, 0, hidden.shape[1])
        return ForwardChunk(
            row, start + step - 1, np.arange(len(row)), step, here, hidden.shape[1], outputs, probability
        )


class TextModelAdapter:
    """Reads for a `TextModel`: pieces of words, and inputs of bounded length."""

    def __init__(
        self, model: TextModel, *, autocast: torch.dtype | None, corpus: Corpus | None = None
    ) -> None:
        """Read for `model`.

        Args:
            model: any.
            autocast: number type of its operations.
            corpus: gives dry runs their words; common ones by default.
        """
        self.model = model
        self.module = unwrapped(model.module)
        self.autocast = autocast
        self.name = model.name or type(self.module).__name__
        self.pooling = model.pooling
        self.padded = model.supports_padding
        self.settings = {
            "pooling": model.pooling,
            "limit": model.max_length,
            "overlap": model.overlap,
            "prefix": list(model.prefix),
            "suffix": list(model.suffix),
            "batches": "padded" if self.padded else "equal lengths",
            **_recorded(autocast),
        }
        self._corpus = corpus
        self._lags = [(layer_pattern(pattern), lag) for pattern, lag in model.lags.items()]

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of all that the encoded model says of reading, and of the code that the module runs."""
        said = {option.name: getattr(self.model, option.name) for option in fields(self.model)}
        for name in ("module", "name", "task", "classes"):
            del said[name]
        return derived(computation_fingerprint(self.module), identity_of(said))

    def encode(self, document: Document) -> tuple[EncodedDocument, list[ModelInput]]:
        """The document's pieces, cut into inputs that the model can read."""
        return inputs(document, self.model.pieces(document.words), self.model)

    def chunks(self, batch: list[ModelInput]) -> Iterator[ForwardChunk]:
        """Run the model once over the whole batch."""
        ids = _padded(batch, self.model.padding, input_device(self.module), self.model.min_length)
        lengths = torch.tensor([len(model_input.ids) for model_input in batch], device=ids.device)
        names = list(dict.fromkeys(model_input.encoded.document.id for model_input in batch))
        shown = f"{', '.join(repr(name[:40]) for name in names[:3])}{', ...' if len(names) > 3 else ''}"
        self.run(ids, torch.arange(ids.shape[1], device=ids.device) < lengths[:, None], f"documents {shown}")
        pieces = np.array([len(model_input.steps) for model_input in batch])
        before = np.cumsum(pieces) - pieces
        yield ForwardChunk(
            row=np.repeat(np.arange(len(batch)), [len(model_input.words) for model_input in batch]),
            word=np.concatenate([model_input.words for model_input in batch]),
            starts=np.concatenate(
                [model_input.starts + int(offset) for model_input, offset in zip(batch, before, strict=True)]
            ),
            step=np.concatenate([model_input.steps for model_input in batch]),
            lengths=np.array([len(model_input.ids) for model_input in batch]),
            steps=ids.shape[1],
        )

    def dry_run(self, documents: int, steps: int) -> int:
        """Run the model over words of the encoded between special positions."""
        steps = max(min(steps, self.model.max_length or steps), min_input_length(self.model))
        ids, mask = padded_input(self.model, self._dry_text, [steps] * documents, input_device(self.module))
        self.run(ids, mask, f"a dry run of ids {ids[0, :5].tolist()} ...")
        return steps

    @cached_property
    def _dry_text(self) -> Indices:
        return text_ids(self.model, sample_words(self._corpus))

    def run(self, ids: Tensor, mask: Tensor, what: str) -> None:
        """Run the model.

        Args:
            ids, mask: see `TextModel.forward`.
            what: is read, for errors.

        Raises:
            CaptureError: it fails.
        """
        try:
            self.model.forward(self.module, ids, mask)
        except TxrayError:
            raise
        except Exception as error:
            raise CaptureError(
                f"model {self.name!r}: failed on {what}, {ids.shape[0]} inputs of {ids.shape[1]} positions: "
                f"{in_one_line(error)}; "
                "a TextModel says by 'forward' how it is called, by 'limit' and 'shortest' how much it reads at once; "
                "smaller batch_positions need less memory"
            ) from error

    def lag(self, layer: str) -> int | None:
        """Return that of the first pattern that the layer's name fits."""
        return next((lag for pattern, lag in self._lags if pattern.fullmatch(layer)), None)


def adapter_for(
    model: nn.Module | TextModel, *, outputs: bool, autocast: str | None = None, corpus: Corpus | None = None
) -> ModelAdapter:
    """Return what reads documents for this model.

    Args:
        model: a model of `txray.models`.
        outputs: whether the model's outputs are wanted.
        autocast: `bfloat16` or `float16`, for operations in which that is safe; None for the model's own number type.
        corpus: what is to be read, for the words of dry runs; common ones by default.

    Raises:
        UnknownNameError: no such number type.
        UsageError: txray does not know how this kind of model reads documents, or what its outputs are.
    """
    if autocast is not None and autocast not in AUTOCAST:
        raise UnknownNameError.of("autocast", autocast, list(AUTOCAST))
    dtype = None if autocast is None else AUTOCAST[autocast]
    if isinstance(model, nn.Module):
        model = unwrapped(model)
    if isinstance(model, RecurrentModel):
        return RecurrentAdapter(model, outputs=outputs, autocast=dtype)
    if isinstance(model, TextModel):
        if outputs:
            raise UsageError(
                "feature 'output': what a encoded model predicts is known of txray's own models only; leave it out"
            )
        return TextModelAdapter(model, autocast=dtype, corpus=corpus)
    raise UsageError(
        f"model of type {type(model).__name__}: how does it read words? Load it with txray.load_model, or wrap "
        "it in a txray.TextModel that says so"
    )


def _recorded(autocast: torch.dtype | None) -> dict[str, str]:
    """For the records: nothing where the model's own numbers are kept."""
    return {} if autocast is None else {"autocast": str(autocast).removeprefix("torch.")}


def _require_finite(scores: Tensor, what: str) -> None:
    if not bool(torch.isfinite(scores).all()):
        raise CaptureError(
            f"{what} is no number; the model's weights are broken, or its activations overflow"
        )


def _padded(batch: list[ModelInput], padding: int, device: torch.device, shortest: int = 1) -> Tensor:
    """(n_inputs, longest, but at least `shortest`) int64 ids."""
    steps = max(shortest, *(len(model_input.ids) for model_input in batch))
    ids = np.full((len(batch), steps), padding, dtype=np.int64)
    for row, model_input in enumerate(batch):
        ids[row, : len(model_input.ids)] = model_input.ids
    made = torch.from_numpy(ids)
    # From pinned memory the copy goes on beside whatever the device is doing.
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made.to(device)
