"""Any module, together with what it takes to read text through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from txray.errors import UnknownNameError, UsageError

Pooling = Literal["max", "mean", "first", "last"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

Task = Literal["none", "classification", "next-word"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A document as a tokenizer sees it: pieces, and the word that each belongs to.

    Attributes:
        ids: (n_pieces,) input ids, without special ones.
        word: (n_pieces,) index of each piece's word, never falling. A word may have several pieces; one that
            the tokenizer does not know has none, and is counted as skipped.
        texts: (n_pieces,) what the pieces are called, for the feature type `subword`; empty where not offered.
    """

    ids: Sequence[int]
    word: Sequence[int]
    texts: Sequence[str] = ()


Encode = Callable[[Sequence[str]], "Pieces | Sequence[int]"]
Forward = Callable[[nn.Module, Tensor, Tensor], object]


def read_ids(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    """The plain forward pass: the module takes ids and nothing else."""
    return module(ids)


@dataclass(frozen=True, eq=False)
class TextModel:
    """A module, how to turn words into its input, and how to run it.

    Attributes:
        module: any `nn.Module`; it is never changed.
        encode: words of a document -> `Pieces`, or one id per word.
        forward: runs the module on (documents, time) int64 ids and a mask of the same shape, True where a
            position is in use; padding is on the right. What it returns does not matter.
        prefix, suffix: ids that stand before and after the pieces of every input, such as `[CLS]` and `[SEP]`.
        padding: the id of padding.
        reads_padding: whether inputs of different length may be read together, padded on the right. By default that is
            tried out where `forward` is given, because it gets the mask, with inputs of some 20 positions and, where
            `max_length` is known, of as many as that, 1,024 at most: if padding changes a layer, inputs are read together
            with others of the same length only. A module that takes nothing but ids cannot tell padding from
            text, so its inputs never share a batch with longer ones; say True of one that no later position can
            influence, such as a one-way recurrent layer. True is believed, with a `PaddingWarning` if it is wrong.
        max_length: positions that the module can read at once, prefix and suffix included; longer documents are cut
            between words into several inputs. None: no limit.
        min_length: positions that the module needs at least, such as the width of a convolution without padding;
            shorter inputs are filled up with padding, to which no word belongs.
        overlap: pieces that two neighbouring inputs of one document have in common at most, so that words at
            a cut have context; each word counts once, in the input whose edge is farther away.
        pooling: which activation a word of several pieces has, neuron by neuron: their `max` (the default,
            because the strongest response is what selection by maximum looks for), `mean`, or that of the
            `first` or the `last` piece.
        lags: layer pattern -> positions by which the outputs of such layers lag behind the input, such as
            `{"decoder.**": 1}` where a decoder reads the text behind a start symbol.
        name: what to call the model in the records; the class of the module by default.
        task: what `forward` returns, as a tensor or as the attribute `logits` of a record: `classification`:
            (documents, classes) logits; `next-word`: (documents, time, ids) logits of the id that comes next; `none`:
            nothing that can be scored. Collection needs none; pruning does.
        classes: of a classification, names of the classes in their order, as the labels of documents have them.

    Raises:
        UnknownNameError: no such pooling or task.
        UsageError: a max_length that leaves no max_pieces for a piece, or an overlap that leaves no max_pieces to go on.
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

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UnknownNameError.of("pooling", self.pooling, POOLINGS)
        if self.task not in TASKS:
            raise UnknownNameError.of("task", self.task, TASKS)
        if (self.task == "classification") != (len(self.classes) > 1):
            raise UsageError(
                f"text model: task {self.task!r} with classes {self.classes!r}; a classification needs the names of "
                "at least 2 classes, and nothing else has any"
            )
        special = len(self.prefix) + len(self.suffix)
        if self.max_length is not None and self.max_length <= special:
            raise UsageError(
                f"text model: max_length={self.max_length} leaves no max_pieces beside {special} special positions; raise it"
            )
        if not 1 <= self.min_length <= (self.max_length or self.min_length):
            raise UsageError(
                f"text model: min_length={self.min_length}; it must be at least 1 and no more than max_length={self.max_length}"
            )
        if self.overlap < 0 or (self.max_length is not None and self.overlap >= self.max_length - special):
            raise UsageError(
                f"text model: overlap={self.overlap}; it must be at least 0 and below the max_pieces of one input, "
                f"{'unlimited' if self.max_length is None else self.max_length - special} pieces"
            )

    def to(self, device: torch.device | str) -> TextModel:
        """The same, its module moved to a device."""
        self.module.to(device)
        return self

    @property
    def supports_padding(self) -> bool:
        """Return whether inputs of different length are read together, unless padding turns out to change them."""
        return self.forward is not read_ids if self.reads_padding is None else self.reads_padding

    @property
    def max_pieces(self) -> int | None:
        """Pieces that one input holds at most; None: no limit."""
        return None if self.max_length is None else self.max_length - len(self.prefix) - len(self.suffix)

    def pieces(self, words: Sequence[str]) -> Pieces:
        """The pieces of a document.

        Raises:
            UsageError: `encode` gave something that does not fit the words.
        """
        encoded: Any = self.encode(words)
        if not isinstance(encoded, Pieces) and not hasattr(encoded, "__len__"):
            raise UsageError(
                f"text model: encode gave {type(encoded).__name__}; give one id per word, or Pieces"
            )
        pieces = encoded if isinstance(encoded, Pieces) else Pieces(encoded, range(len(encoded)))
        n = len(pieces.ids)
        if not isinstance(encoded, Pieces) and n != len(words):
            raise UsageError(
                f"text model: encode gave {n} ids for {len(words)} words; give one per word, or Pieces"
            )
        falls = any(before > after for before, after in zip(pieces.word, pieces.word[1:], strict=False))
        outside = n > 0 and not 0 <= pieces.word[0] <= pieces.word[-1] < len(words)
        if len(pieces.word) != n or falls or outside or len(pieces.texts) not in (0, n):
            raise UsageError(
                f"text model: encode gave {n} ids and {len(pieces.word)} word indices for {len(words)} words; "
                "give the index of its word for each id, never falling"
            )
        for what, numbers in (("ids", pieces.ids), ("word indices", pieces.word)):
            kind = np.asarray(numbers).dtype
            if n and kind.kind not in "iu":
                raise UsageError(
                    f"text model: encode gave {what} of kind {kind}; give whole numbers below 2^63"
                )
        try:
            "".join(pieces.texts).encode()
        except (TypeError, UnicodeEncodeError) as error:
            raise UsageError(f"text model: encode gave names of pieces that are no text ({error})") from error
        return pieces
