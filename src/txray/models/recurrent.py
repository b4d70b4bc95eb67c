"""Word-level recurrent models: the encoder, and the language model upon it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from txray.corpus.corpus import Corpus
from txray.errors import UnknownNameError, UsageError
from txray.models.vocabulary import END, Vocabulary

Cell = Literal["lstm", "gru", "rnn-tanh", "rnn-relu"]
HiddenState = Tensor | tuple[Tensor, Tensor] | tuple["HiddenState", ...]
"""What recurrent layers carry on: (layers, batch, hidden); for an LSTM, a pair of those; for a stack of layers of
different size, one of these per layer."""

_LARGEST, _MOST_LAYERS = 1_000_000, 1_000

_DECODED = 1024
"""States decoded at a time: the logits over a 33k vocabulary are then 136 MB."""


@dataclass(frozen=True)
class RecurrentConfig:
    """The sizes of a recurrent model.

    Attributes:
        cell: `lstm`, `gru`, `rnn-tanh` or `rnn-relu`.
        embedding: numbers per word.
        hidden: neurons per recurrent layer.
        layers: recurrent layers, one upon the other.
        dropout: share of the values left out while training: of embeddings, between layers, of the
            outputs that the decoder or the head reads.
        tied: whether the decoder uses the embedding's weights; then `embedding` equals `hidden`.
        lower_sizes: neurons of the layers below the last, from the bottom up, where these differ from it, as in a model
            that was made smaller; None: all have `hidden`.

    Raises:
        UnknownNameError: no such cell.
        UsageError: a size that cannot be.
    """

    cell: Cell
    embedding: int = 300
    hidden: int = 1500
    layers: int = 1
    dropout: float = 0.0
    tied: bool = False
    # Not shown: the fingerprint of a model is made of what is, and the shapes of its weights tell it anyway.
    lower_sizes: tuple[int, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.cell not in get_args(Cell):
            raise UnknownNameError.of("cell", self.cell, get_args(Cell))
        for name in ("embedding", "hidden", "layers"):
            size = getattr(self, name)
            most = _MOST_LAYERS if name == "layers" else _LARGEST
            if type(size) is not int or not 1 <= size <= most:
                raise UsageError(f"model: {name}={size!r}; it must be a whole number from 1 to {most:,}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"model: dropout={self.dropout}; it must be at least 0 and below 1")
        if self.tied and self.embedding != self.hidden:
            raise UsageError(
                f"model: tied weights need embedding = hidden, got {self.embedding} and {self.hidden}; "
                "make them equal, or leave tied=False"
            )
        if self.lower_sizes is not None:
            object.__setattr__(self, "lower_sizes", tuple(self.lower_sizes))  # JSON has lists only
            sizes_fit = all(type(size) is int and 1 <= size <= _LARGEST for size in self.lower_sizes)
            if len(self.lower_sizes) != self.layers - 1 or not sizes_fit:
                raise UsageError(
                    f"model: lower_sizes={self.lower_sizes!r}; give one whole number for each of the {self.layers - 1} layers "
                    "below the last"
                )

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values; `lower_sizes` only where it is given."""
        values = asdict(self)
        if self.lower_sizes is None:
            del values["lower_sizes"]
        return values


class RecurrentStack(nn.Module):
    """Recurrent layers of different size, one upon the other; it is called as torch's own are.

    Attributes:
        layers: of one recurrent layer each, from the bottom up.
        dropout: between them.
    """

    def __init__(self, layers: Sequence[nn.RNNBase], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Tensor, state: tuple[HiddenState, ...] | None = None
    ) -> tuple[Tensor, tuple[HiddenState, ...]]:
        """What the last layer holds after each step.

        Args:
            inputs: (batch, time, embedding).
            state: one per layer; None for a new text.

        Returns:
            (batch, time, hidden) outputs, and the state to go on from.
        """
        outputs, states = inputs, []
        for depth, layer in enumerate(self.layers):
            before = outputs if depth == 0 else self.dropout(outputs)
            outputs, after = layer(before, None if state is None else state[depth])
            states.append(after)
        return outputs, tuple(states)


def detached(state: HiddenState) -> HiddenState:
    """The same state, from which no gradient goes back."""
    return state.detach() if isinstance(state, Tensor) else tuple(map(detached, state))


class RecurrentModel(nn.Module):
    """Words to embeddings to recurrent states; language model and classifier build on it.

    Attributes:
        vocabulary: the words it knows.
        config: its sizes.
        embedding: (vocabulary, embedding) table.
        rnn: the recurrent layer that is looked into, named `rnn`.
    """

    def __init__(self, vocabulary: Vocabulary, config: RecurrentConfig) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.config = config
        self.embedding = nn.Embedding(len(vocabulary), config.embedding)
        self.rnn = _recurrent_layer(config)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def encode(self, words: Iterable[str]) -> list[int]:
        """A document as the model reads it: `<eos> w1 ... wn <eos>`.

        Args:
            words: (n,) as written.

        Returns:
            (n + 2,) ids. The two `<eos>` are not words and are never counted as such.
        """
        end = self.vocabulary.encode((END,))
        return [*end, *self.vocabulary.encode(words), *end]

    def hidden_states(self, ids: Tensor, state: HiddenState | None = None) -> tuple[Tensor, HiddenState]:
        """What the last recurrent layer holds after each word.

        Args:
            ids: (batch, time) int64.
            state: to go on from; None for a new text.

        Returns:
            (batch, time, hidden) outputs, and the state to go on from.
        """
        outputs, state = self.rnn(self.dropout(self.embedding(ids)), state)
        return outputs, state


class RecurrentLanguageModel(RecurrentModel):
    """Predicts the next word.

    Attributes:
        decoder: hidden -> vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary, config: RecurrentConfig) -> None:
        super().__init__(vocabulary, config)
        self.decoder = nn.Linear(config.hidden, len(vocabulary))
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        if config.tied:
            self.decoder.weight = self.embedding.weight

    def forward(self, ids: Tensor, state: HiddenState | None = None) -> tuple[Tensor, HiddenState]:
        """Scores of every word to come next.

        Args:
            ids: (batch, time) int64.
            state: to go on from; None for a new text.

        Returns:
            (batch, time, vocabulary) logits, and the state to go on from.
        """
        outputs, state = self.hidden_states(ids, state)
        return self.decoder(self.dropout(outputs)), state

    def predicted(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The most likely next word after each of some states.

        Args:
            hidden: (n, hidden), without gradients.

        Returns:
            (n,) ids, and (n,) their logits; no number where any logit of the state is none.
        """
        weight, bias = self.decoder.weight, self.decoder.bias
        parts = torch.split(hidden.to(weight.dtype), _DECODED)
        # One buffer: fresh memory for every part costs more than the product itself where states are small.
        logits = weight.new_empty((len(parts[0]), len(self.vocabulary)))
        best, value = [], []
        for part in parts:
            of_part = logits[: len(part)]
            if weight.device.type == "cpu" and weight.dtype is torch.float32:
                best.append(_decoded_by_numpy(part, weight, bias, of_part))
            else:
                torch.addmm(bias, part, weight.T, out=of_part)
                best.append(of_part.argmax(dim=1))
            value.append(of_part.gather(1, best[-1][:, None]).squeeze(1))
        return torch.cat(best), torch.cat(value)


def _decoded_by_numpy(part: Tensor, weight: Tensor, bias: Tensor, logits: Tensor) -> Tensor:
    """Write the logits of some states, and find the largest.

    numpy's product of matrices is some 1.6 times as fast as torch's on the processor measured, its maximum seven times.
    """
    found = logits.numpy()
    np.matmul(part.numpy(), weight.detach().numpy().T, out=found)
    found += bias.detach().numpy()
    return torch.from_numpy(found.argmax(axis=1))


def language_model(
    cell: Cell,
    corpus_or_vocabulary: Corpus | Vocabulary,
    *,
    embedding: int = 300,
    hidden: int = 1500,
    layers: int = 1,
    dropout: float = 0.0,
    tied: bool = False,
    vocabulary_size: int | None = None,
    lowercase: bool = True,
    seed: int = 0,
) -> RecurrentLanguageModel:
    """A fresh, untrained language model; its recurrent layer is named `rnn`.

    Args:
        cell: `lstm`, `gru`, `rnn-tanh` or `rnn-relu`.
        corpus_or_vocabulary: text to take the words from, or the words themselves.
        embedding: numbers per word.
        hidden: neurons per recurrent layer.
        layers: recurrent layers.
        dropout: share of the values left out while training.
        tied: whether the decoder uses the embedding's weights.
        vocabulary_size: words to take from a corpus, `<unk>` and `<eos>` included; None for all.
        lowercase: for words taken from a corpus.
        seed: of the weights; the global random state stays as it is.

    Raises:
        UnknownNameError: no such cell.
        UsageError: sizes that cannot be, or `vocabulary_size` for a finished vocabulary.
    """
    config = RecurrentConfig(cell, embedding, hidden, layers, dropout, tied)
    if isinstance(corpus_or_vocabulary, Vocabulary):
        if vocabulary_size is not None:
            raise UsageError(
                f"language_model: vocabulary_size={vocabulary_size} means nothing for a finished vocabulary; "
                "leave it out"
            )
        vocabulary = corpus_or_vocabulary
    else:
        vocabulary = Vocabulary.from_corpus(corpus_or_vocabulary, vocabulary_size, lowercase)
    with seeded_weights(seed):
        return RecurrentLanguageModel(vocabulary, config).eval()


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Within the block, new weights depend on `seed` alone; afterwards the random state is as it was."""
    if not 0 <= seed < 1 << 63:
        raise UsageError(f"model: seed={seed}; it must be from 0 to 2^63 - 1")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _recurrent_layer(config: RecurrentConfig) -> nn.RNNBase | RecurrentStack:
    if config.lower_sizes is None or config.layers == 1:
        between = config.dropout if config.layers > 1 else 0.0
        return _layers(config.cell, config.embedding, config.hidden, config.layers, between)
    sizes = (config.embedding, *config.lower_sizes, config.hidden)
    return RecurrentStack(
        [_layers(config.cell, below, size) for below, size in pairwise(sizes)], config.dropout
    )


def _layers(cell: Cell, inputs: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> nn.RNNBase:
    if cell == "lstm":
        return nn.LSTM(inputs, hidden, layers, batch_first=True, dropout=dropout)
    if cell == "gru":
        return nn.GRU(inputs, hidden, layers, batch_first=True, dropout=dropout)
    nonlinearity = cell.removeprefix("rnn-")
    return nn.RNN(inputs, hidden, layers, nonlinearity=nonlinearity, batch_first=True, dropout=dropout)
