"""Wrap any module so that it can read text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from txray.corpus.document import Document
from txray.errors import UnknownNameError, UsageError
from txray.models.base_model import unwrapped

Pooling = Literal["max", "mean", "first", "last"]
"""How the pieces of a word are combined."""
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

Task = Literal["none", "classification", "next-word"]
"""What the forward pass of a model returns."""
TASKS: tuple[Task, ...] = get_args(Task)

Encodes = Literal["words", "document"]
"""What the function that encodes a document receives."""
ENCODES: tuple[Encodes, ...] = get_args(Encodes)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A document as a tokenizer sees it: pieces, and the word that each belongs to.

    Attributes:
        ids: (n_pieces,) input ids, without special ones.
        word: (n_pieces,) index of each piece's word, never decreasing, or -1 for a piece that the model reads and that
            belongs to no word, such as white space. A word may have several pieces. A word that the tokenizer does not
            know has none, and is counted as skipped.
        texts: (n_pieces,) names of the pieces, for the feature type `subword`; empty if there are none.
        shared: number of words without a piece whose characters are in pieces of other words; counted as skipped, too.
        read_as: how the text was read, e.g. `as written`, for the manifest; empty if there is nothing to say.
    """

    ids: Sequence[int]
    word: Sequence[int] | NDArray[np.int64]
    texts: Sequence[str] = ()
    shared: int = 0
    read_as: str = ""


Encode = Callable[[Any], "Pieces | Sequence[int]"]
"""Encodes the words of a document, or the document itself, see `TextModel.encodes`."""
Forward = Callable[[nn.Module, Tensor, Tensor], object]
OutputName = Callable[[int], str | None]
"""Names an id that a language model predicts; None for an id without a name."""


def read_ids(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    """Run a module that takes nothing but ids."""
    return module(ids)


@dataclass(frozen=True, eq=False)
class TextModel:
    """A module, how to turn words into its input, and how to run it.

    >>> module = torch.nn.Embedding(10, 4)
    >>> model = TextModel(module, encode=lambda words: [len(word) % 10 for word in words], max_length=50)
    >>> model.pieces(["one", "three"]).ids
    [3, 5]

    Attributes:
        module: any `nn.Module`; it is never changed.
        encode: words of a document -> `Pieces`, or one id per word.
        encodes: what `encode` receives: the `words` of a document, or the `document`, whose `text` and `offsets` are
            the text as written.
        forward: runs the module on (documents, time) int64 ids and a bool mask of the same shape, True at positions in
            use; padding is on the right. The result is ignored, except by pruning (see `task`).
        prefix, suffix: ids before and after the pieces of every input, such as `[CLS]` and `[SEP]`.
        padding: id of padding.
        reads_padding: whether inputs of different length may share a batch, padded on the right. By default, this is
            tested if `forward` is given, because it receives the mask: with inputs of about 20 positions and, if
            `max_length` is known, of up to 1,024. If padding changes a layer, batches have inputs of equal length. A
            module that takes only ids cannot distinguish padding from text, so its batches always have equal length;
            pass True for one in which no position depends on later ones, such as a one-way recurrent layer. True is
            never overridden, but causes a `PaddingWarning` if it is wrong.
        max_length: maximum number of positions of an input, prefix and suffix included; longer documents are cut
            between words. None: no limit.
        min_length: minimum number of positions of an input, such as the width of a convolution without padding;
            shorter inputs are padded.
        overlap: maximum number of pieces that two consecutive inputs of a document share, so that words at a cut have
            context. Each word counts once, in the input whose edge is farther away.
        pooling: how the pieces of a word are combined, neuron by neuron: their `max` (default, because selection by
            maximum looks for the strongest response), their `mean`, or the `first` or `last` piece.
        lags: layer pattern -> positions by which the outputs of these layers lag behind the input, such as
            `{"decoder.**": 1}` if a decoder reads the text after a start symbol.
        name: name of the model in manifests; the class of the module by default.
        task: what `forward` returns, as a tensor or as an attribute `logits`: `classification`: (documents, classes)
            logits; `next-word`: (documents, time, ids) logits of the next id; `none`: nothing that can be scored.
            Needed by pruning only.
        classes: names of the classes of a classification, in the order of the logits, as in the labels of documents.
        output_name: id -> name of what a language model predicts, or None for an id without a name. Needed for the
            feature type `output` and by `txray.output_tokens` only, like the next attribute.
        language_model: module -> the language model around it, whose forward pass returns the logits of the next id; by
            default `module` itself if `task` is `next-word`.

    Raises:
        UnknownNameError: unknown pooling or task.
        UsageError: `max_length` leaves no room for a piece, or `overlap` none for new pieces.
    """

    module: nn.Module
    encode: Encode
    forward: Forward = read_ids
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    padding: int = 0
    reads_padding: bool | None = None
    max_length: int | None = None
    min_length: int = 1
    overlap: int = 0
    pooling: Pooling = "max"
    lags: Mapping[str, int] = field(default_factory=dict)
    name: str = ""
    task: Task = "none"
    classes: tuple[str, ...] = ()
    encodes: Encodes = "words"
    output_name: OutputName | None = None
    language_model: Callable[[nn.Module], nn.Module] | None = None

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UnknownNameError.of("pooling", self.pooling, POOLINGS)
        if self.task not in TASKS:
            raise UnknownNameError.of("task", self.task, TASKS)
        if self.encodes not in ENCODES:
            raise UnknownNameError.of("value of 'encodes'", self.encodes, ENCODES)
        if (self.task == "classification") != (len(self.classes) > 1):
            raise UsageError(
                f"text model: task {self.task!r} with classes {self.classes!r}; a classification needs the names of "
                "at least 2 classes, and no other task has classes"
            )
        room = self.max_pieces
        if room is not None and room < 1:
            raise UsageError(
                f"text model: max_length={self.max_length} leaves no room beside "
                f"{len(self.prefix) + len(self.suffix)} special positions; increase it"
            )
        if not 1 <= self.min_length <= (self.max_length or self.min_length):
            raise UsageError(
                f"text model: min_length={self.min_length}; it must be from 1 to max_length={self.max_length}"
            )
        if self.overlap < 0 or (room is not None and self.overlap >= room):
            raise UsageError(
                f"text model: overlap={self.overlap}; it must be at least 0 and below the room of one input, "
                f"{'unlimited' if room is None else room} pieces"
            )

    def to(self, device: torch.device | str) -> TextModel:
        """Move the module to a device, and return the model."""
        self.module.to(device)
        return self

    def with_head(self) -> nn.Module:
        """Return the module that predicts the next id: `module` itself, or the language model around it.

        Raises:
            UsageError: the model predicts no next id, or its ids have no names.
            SnapshotError: the head cannot be read.
        """
        module = unwrapped(self.module)
        if (self.language_model is None and self.task != "next-word") or self.output_name is None:
            raise UsageError(
                f"model {self.name or type(module).__name__!r}: it is not known to predict the next word; use a causal "
                "language model (an adapter of one: load_model(folder, head=True)), or pass task='next-word' and "
                "output_name to its TextModel"
            )
        return module if self.language_model is None else self.language_model(module)

    @property
    def supports_padding(self) -> bool:
        """Return whether inputs of different length may share a batch, as far as known without a test."""
        return self.forward is not read_ids if self.reads_padding is None else self.reads_padding

    @property
    def max_pieces(self) -> int | None:
        """Return the maximum number of pieces in an input; None: no limit."""
        return None if self.max_length is None else self.max_length - len(self.prefix) - len(self.suffix)

    def pieces(self, text: Document | Sequence[str]) -> Pieces:
        """Return the pieces of a document, or of words joined by spaces.

        Raises:
            UsageError: `encode` returned something that does not match the words.
        """
        words = text.words if isinstance(text, Document) else text
        if self.encodes == "words":
            encoded: Any = self.encode(words)
        else:
            encoded = self.encode(text if isinstance(text, Document) else Document("words", tuple(text)))
        if not isinstance(encoded, Pieces) and not hasattr(encoded, "__len__"):
            raise UsageError(
                f"text model: encode returned {type(encoded).__name__}; return one id per word, or Pieces"
            )
        pieces = encoded if isinstance(encoded, Pieces) else Pieces(encoded, range(len(encoded)))
        n = len(pieces.ids)
        if not isinstance(encoded, Pieces) and n != len(words):
            raise UsageError(
                f"text model: encode returned {n} ids for {len(words)} words; return one per word, or Pieces"
            )
        for name, numbers in (("ids", pieces.ids), ("word indices", pieces.word)):
            dtype = np.asarray(numbers).dtype
            if n and dtype.kind not in "iu":
                raise UsageError(
                    f"text model: encode returned {name} of type {dtype}; return integers below 2^63"
                )
        word = np.asarray(pieces.word, np.int64)
        of_words = word[word >= 0]
        outside = n > 0 and not -1 <= word.min() <= word.max() < len(words)
        if len(word) != n or (np.diff(of_words) < 0).any() or outside or len(pieces.texts) not in (0, n):
            raise UsageError(
                f"text model: encode returned {n} ids and {len(word)} word indices for {len(words)} words; return "
                "the index of its word for each id, never decreasing, or -1"
            )
        if pieces.shared and not 0 <= pieces.shared <= len(words) - len(np.unique(of_words)):
            raise UsageError(
                f"text model: encode returned shared={pieces.shared} for {len(words)} words, "
                f"{len(np.unique(of_words))} of them with pieces; count words without pieces only"
            )
        try:
            "".join(pieces.texts).encode()
        except (TypeError, UnicodeEncodeError) as error:
            raise UsageError(
                f"text model: encode returned names of pieces that are not text ({error}); return str"
            ) from error
        return pieces


def module_of(model: nn.Module | TextModel) -> nn.Module:
    """Return the module of a text model; a module is returned unchanged."""
    return model.module if isinstance(model, TextModel) else model
