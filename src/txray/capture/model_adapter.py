"""Adapters that run a model over documents and yield its activations chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from txray.capture.forward.dry_run_inputs import min_input_length, padded_input, sample_words, text_ids
from txray.capture.output.predictions import predictor_for
from txray.capture.source import ActivationSource, ModuleSource
from txray.capture.text.encoding import EncodedDocument, Indices, ModelInput, inputs
from txray.capture.text.forward_chunk import ForwardChunk
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CaptureError, TxrayError, UnknownNameError, UsageError, in_one_line
from txray.identity import derived, identity_of
from txray.layer_patterns import layer_pattern
from txray.models.base_model import input_device, is_a, unwrapped
from txray.models.fingerprint import computation_fingerprint
from txray.models.load import as_model
from txray.models.recurrent import RecurrentLanguageModel, RecurrentModel
from txray.models.sentiment import SentimentClassifier
from txray.models.text_model import TextModel

Autocast = Literal["bfloat16", "float16"]
"""Number types for the operations of a model."""

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}

_CHUNK_STEPS = 2048
"""Time steps of one call of a recurrent layer; longer documents continue with its state."""


class ModelAdapter(ActivationSource, Protocol):
    """An activation source that is a module, whose layers are found by dry runs."""

    @property
    def module(self) -> nn.Module:
        """Return the module that runs."""

    @property
    def autocast(self) -> torch.dtype | None:
        """Return the dtype of the operations for which PyTorch considers it safe; None for that of the model."""

    def dry_run(self, documents: int, steps: int) -> int:
        """Run the model over an input of this size, or a shorter one if it cannot read that much.

        Returns:
            The number of steps of the input.
        """

    def dry_run_with_other_end(self, steps: int, changed: bool) -> int:
        """Run the model over an input of about this size, whose last word is another one if `changed`.

        Returns:
            The position of the last word.
        """

    def lag(self, layer: str) -> int | None:
        """Return the time steps by which a layer's output lags behind the input; None if unknown."""


class RecurrentAdapter(ModuleSource):
    """Adapter of the word-level recurrent language models and classifiers.

    A document is read as `<eos> w1 ... wn <eos>`; the two `<eos>` are never counted.
    """

    pooling = "max"
    padded = True

    def __init__(self, model: RecurrentModel, *, outputs: bool, autocast: torch.dtype | None) -> None:
        """Adapt `model`.

        Args:
            model: a language model or classifier.
            outputs: whether to compute its outputs; the decoder of a language model costs a multiple of its recurrent
                layer.
            autocast: dtype of its operations.
        """
        self.module = model
        self.autocast = autocast
        self.settings: dict[str, Any] = {"ends": "<eos>", **_recorded(autocast)}
        self.name = type(model).__name__
        self.chunk_steps = None if isinstance(model, SentimentClassifier) else _CHUNK_STEPS
        self._model = model
        self._outputs = outputs
        self._lowered = [word.lower() for word in model.vocabulary.words]

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the vocabulary of the model and of the code that it runs."""
        pooling = getattr(self._model, "pooling", None)
        return derived(
            computation_fingerprint(self._model), self._model.vocabulary.fingerprint, pooling, self._outputs
        )

    def encode(self, document: Document) -> tuple[EncodedDocument, list[ModelInput]]:
        """Return the document between two `<eos>` as one input of any length."""
        ids = self._model.encode(document.words)
        forms = list(map(self._lowered.__getitem__, ids[1:-1]))
        model_input = ModelInput.word_by_word(document, forms, ids, first=1)
        return model_input.encoded, [model_input]

    def chunks(self, batch: list[ModelInput]) -> Iterator[ForwardChunk]:
        """Run the model over a batch and yield chunk by chunk."""
        ids, lengths = _padded(batch, 0, input_device(self._model))
        steps = self.chunk_steps or ids.shape[1]
        state = None
        for start in range(0, ids.shape[1], steps):
            hidden, state = self._model.hidden_states(ids[:, start : start + steps], state)
            yield self._chunk(batch, lengths, hidden, start)

    def dry_run(self, documents: int, steps: int) -> int:
        """Run the recurrent layer over `<unk>`."""
        ids = torch.zeros((documents, steps), dtype=torch.int64, device=input_device(self._model))
        self._model.hidden_states(ids)
        return steps

    def dry_run_with_other_end(self, steps: int, changed: bool) -> int:
        """Run the recurrent layer over `<unk>` with another word at the end."""
        ids = torch.zeros((1, steps), dtype=torch.int64, device=input_device(self._model))
        ids[0, -1] = int(changed)
        self._model.hidden_states(ids)
        return steps - 1

    def lag(self, layer: str) -> int | None:
        """Return None: outputs do not lag."""
        return None

    def _chunk(self, batch: list[ModelInput], lengths: Indices, hidden: Tensor, start: int) -> ForwardChunk:
        time = start + np.arange(hidden.shape[1])
        row, step = np.nonzero((time >= 1) & (time < lengths[:, None] - 1))
        outputs, probability = self._predictions(hidden, lengths, row, step)
        return ForwardChunk(
            batch=batch,
            row=row,
            word=start + step - 1,
            starts=np.arange(len(row)),
            step=step,
            lengths=np.clip(lengths - start, 0, hidden.shape[1]),
            steps=hidden.shape[1],
            outputs=outputs,
            probability=probability,
        )

    def _predictions(
        self, hidden: Tensor, lengths: Indices, row: Indices, step: Indices
    ) -> tuple[list[str] | None, NDArray[np.float64] | None]:
        """Return the model's output at each word, if requested, and a classifier's probability of each input."""
        if isinstance(self._model, SentimentClassifier):
            pooled = self._model.pool(hidden, torch.from_numpy(lengths).to(hidden.device))
            score = self._model.head(pooled).squeeze(-1)
            _require_finite(score, "the classifier's score of a document")
            probability = torch.sigmoid(score).double().cpu().numpy()
            predicted = [self._model.classes[int(value)] for value in probability >= 0.5]
            return ([predicted[i] for i in row] if self._outputs else None), probability
        if self._outputs and isinstance(self._model, RecurrentLanguageModel):
            rows = torch.from_numpy(row * hidden.shape[1] + step).to(hidden.device)
            best, score = self._model.predicted(hidden.reshape(-1, hidden.shape[-1])[rows])
            _require_finite(score, "the score of a predicted word")
            return list(map(self._lowered.__getitem__, best.tolist())), None
        return None, None


class TextModelAdapter(ModuleSource):
    """Adapter of a `TextModel`, with pieces of words and inputs of bounded length."""

    chunk_steps = None

    def __init__(
        self,
        model: TextModel,
        *,
        outputs: bool = False,
        autocast: torch.dtype | None,
        corpus: Corpus | None = None,
    ) -> None:
        """Adapt `model`.

        Args:
            model: any text model.
            outputs: whether to compute what it predicts.
            autocast: dtype of its operations.
            corpus: provides the words of dry runs; common words by default.
        """
        self.model = model
        self.module = unwrapped(model.module)
        self.autocast = autocast
        self.name = model.name or type(self.module).__name__
        self.pooling = model.pooling
        self.padded = model.supports_padding
        self.settings: dict[str, Any] = {
            "pooling": model.pooling,
            "limit": model.max_length,
            "overlap": model.overlap,
            "prefix": list(model.prefix),
            "suffix": list(model.suffix),
            "batches": "padded" if self.padded else "equal lengths",
            **_recorded(autocast),
        }
        self.predictor = predictor_for(model) if outputs else None
        if self.predictor is not None:
            self.settings["output"] = self.predictor.settings
        self._corpus = corpus
        self._lags = [(layer_pattern(pattern), lag) for pattern, lag in model.lags.items()]

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the options of the text model and of the code that the module runs."""
        options = {option.name: getattr(self.model, option.name) for option in fields(self.model)}
        for name in ("module", "name", "task", "classes", "output_name", "language_model"):
            del options[name]
        if self.model.encodes == "words":
            del options["encodes"]
        return derived(computation_fingerprint(self.module), identity_of(options))

    def encode(self, document: Document) -> tuple[EncodedDocument, list[ModelInput]]:
        """Return the pieces of the document, cut into inputs that the model can read."""
        return inputs(document, self.model.pieces(document), self.model)

    def chunks(self, batch: list[ModelInput]) -> Iterator[ForwardChunk]:
        """Run the model over the whole batch and yield it as one chunk."""
        ids, lengths = _padded(batch, self.model.padding, input_device(self.module), self.model.min_length)
        mask = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None]).to(ids.device)
        names = list(dict.fromkeys(model_input.encoded.document.id for model_input in batch))
        shown = f"{', '.join(repr(name[:40]) for name in names[:3])}{', ...' if len(names) > 3 else ''}"
        output = self.run(ids, mask, f"documents {shown}")
        pieces = np.array([len(model_input.steps) for model_input in batch])
        before = np.cumsum(pieces) - pieces
        row = np.repeat(np.arange(len(batch)), [len(model_input.words) for model_input in batch])
        starts = np.concatenate(
            [model_input.starts + int(offset) for model_input, offset in zip(batch, before, strict=True)]
        )
        step = np.concatenate([model_input.steps for model_input in batch])
        outputs = None
        if self.predictor is not None:
            # The last piece of a word predicts what follows the word.
            outputs = self.predictor.names(output, row, step[np.append(starts, len(step))[1:] - 1])
        del output  # its logits may be larger than everything else
        yield ForwardChunk(
            batch=batch,
            row=row,
            word=np.concatenate([model_input.words for model_input in batch]),
            starts=starts,
            step=step,
            lengths=lengths,
            steps=ids.shape[1],
            outputs=outputs,
        )

    def dry_run(self, documents: int, steps: int) -> int:
        """Run the model over words of the corpus between special positions."""
        steps = max(min(steps, self.model.max_length or steps), min_input_length(self.model))
        ids, mask = padded_input(self.model, self._dry_text, [steps] * documents, input_device(self.module))
        self.run(ids, mask, f"a dry run of ids {ids[0, :5].tolist()} ...")
        return steps

    def dry_run_with_other_end(self, steps: int, changed: bool) -> int:
        """Run the model over words of the corpus, the last of which is another one if `changed`."""
        steps = max(min(steps, self.model.max_length or steps), min_input_length(self.model))
        ids, mask = padded_input(self.model, self._dry_text, [steps], input_device(self.module))
        last = steps - len(self.model.suffix) - 1
        if changed:
            ids[0, last] = next(
                (int(id_) for id_ in self._dry_text if id_ != ids[0, last]), self.model.padding
            )
        self.run(ids, mask, f"a dry run of ids {ids[0, :5].tolist()} ...")
        return last

    @cached_property
    def _dry_text(self) -> Indices:
        return text_ids(self.model, sample_words(self._corpus))

    def run(self, ids: Tensor, mask: Tensor, what: str) -> object:
        """Run the model on ids and a mask, described by `what` in errors, and return its output.

        Raises:
            CaptureError: the model fails.
        """
        try:
            return self.model.forward(self.module, ids, mask)
        except TxrayError:
            raise
        except Exception as error:
            raise CaptureError(
                f"model {self.name!r}: failed on {what}, {ids.shape[0]} inputs of {ids.shape[1]} positions: "
                f"{in_one_line(error)}; check 'forward', 'max_length' and 'min_length' of the TextModel, or choose "
                "smaller batch_positions to save memory"
            ) from error

    def lag(self, layer: str) -> int | None:
        """Return the lag of the first pattern that matches the name of the layer."""
        return next((lag for pattern, lag in self._lags if pattern.fullmatch(layer)), None)


def adapter_for(
    model: nn.Module | TextModel,
    *,
    outputs: bool,
    autocast: Autocast | None = None,
    corpus: Corpus | None = None,
) -> ModelAdapter:
    """Return the adapter of a model.

    Args:
        model, autocast: as in `txray.collect`.
        outputs: whether to compute the model's outputs.
        corpus: provides the words of dry runs; common words by default.

    Raises:
        UnknownNameError: unknown dtype.
        UsageError: txray does not know how this type of model reads documents, or what it predicts.
    """
    if autocast is not None and autocast not in _AUTOCAST:
        raise UnknownNameError.of("autocast", autocast, list(_AUTOCAST))
    dtype = None if autocast is None else _AUTOCAST[autocast]
    model = as_model(model)
    if isinstance(model, nn.Module):
        model = unwrapped(model)
    if isinstance(model, RecurrentModel):
        return RecurrentAdapter(model, outputs=outputs, autocast=dtype)
    if isinstance(model, TextModel):
        return TextModelAdapter(model, outputs=outputs, autocast=dtype, corpus=corpus)
    remedy = "load it with txray.load_model, or wrap it in a txray.TextModel"
    if is_a(model, "transformers.PreTrainedModel"):
        remedy = "pass its tokenizer: txray.models.from_transformers(model, tokenizer)"
    elif is_a(model, "transformers.PreTrainedTokenizerBase"):
        remedy = "pass the model with it: txray.models.from_transformers(model, tokenizer)"
    raise UsageError(f"model of type {type(model).__name__}: txray cannot tell how it reads words; {remedy}")


def _recorded(autocast: torch.dtype | None) -> dict[str, str]:
    """Return the entry of the manifest; empty without autocast."""
    return {} if autocast is None else {"autocast": str(autocast).removeprefix("torch.")}


def _require_finite(scores: Tensor, what: str) -> None:
    if not bool(torch.isfinite(scores).all()):
        raise CaptureError(
            f"{what} is not finite; the model's weights are broken, or its activations overflow"
        )


def _padded(
    batch: list[ModelInput], padding: int, device: torch.device, min_length: int = 1
) -> tuple[Tensor, Indices]:
    """Return (n_inputs, longest) int64 ids, at least `min_length` positions long, and the (n_inputs,) lengths."""
    lengths = np.array([len(model_input.ids) for model_input in batch])
    padded = np.full((len(batch), max(min_length, lengths.max())), padding, dtype=np.int64)
    for row, model_input in enumerate(batch):
        padded[row, : lengths[row]] = model_input.ids
    ids = torch.from_numpy(padded)
    # From pinned memory, the copy runs in parallel with the device.
    ids = ids.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else ids.to(device)
    return ids, lengths
