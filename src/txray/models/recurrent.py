"""Word-level recurrent models: the encoder and the language model."""

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
"""Type of a recurrent layer."""
HiddenState = Tensor | tuple[Tensor, Tensor] | tuple["HiddenState", ...]
"""State of recurrent layers: (layers, batch, hidden); a pair of these for an LSTM; one of these per layer for a stack
of layers of different size."""

_MAX_SIZE, _MAX_LAYERS = 1_000_000, 1_000

_DECODE_ROWS = 1024
"""Number of states decoded at a time: with a vocabulary of 33k words, their logits take 136 MB."""


@dataclass(frozen=True)
class RecurrentConfig:
    """The configuration of a recurrent model.

    >>> RecurrentConfig("gru", hidden=128)
    RecurrentConfig(cell='gru', embedding=300, hidden=128, layers=1, dropout=0.0, tied=False)

    Attributes:
        cell: `lstm`, `gru`, `rnn-tanh` or `rnn-relu`.
        embedding: size of the embedding.
        hidden: number of neurons per recurrent layer.
        layers: number of recurrent layers.
        dropout: share of the values dropped in training: of embeddings, between layers, and of the outputs that the
            decoder or the head reads.
        tied: whether the decoder uses the weights of the embedding; requires `embedding == hidden`.
        lower_sizes: numbers of neurons of the layers below the last, from the bottom up, if they differ from it, as in
            a compacted model; None: all have `hidden`.

    Raises:
        UnknownNameError: unknown cell.
        UsageError: a size is out of range.
    """

    cell: Cell
    embedding: int = 300
    hidden: int = 1500
    layers: int = 1
    dropout: float = 0.0
    tied: bool = False
    # Not in the repr, which is part of a model's fingerprint: the shapes of the weights cover it.
    lower_sizes: tuple[int, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.cell not in get_args(Cell):
            raise UnknownNameError.of("cell", self.cell, get_args(Cell))
        for name in ("embedding", "hidden", "layers"):
            size = getattr(self, name)
            largest = _MAX_LAYERS if name == "layers" else _MAX_SIZE
            if type(size) is not int or not 1 <= size <= largest:
                raise UsageError(f"model: {name}={size!r}; it must be an integer from 1 to {largest:,}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"model: dropout={self.dropout}; it must be at least 0 and below 1")
        if self.tied and self.embedding != self.hidden:
            raise UsageError(
                f"model: tied weights need embedding = hidden, got {self.embedding} and {self.hidden}; "
                "make them equal, or pass tied=False"
            )
        if self.lower_sizes is not None:
            object.__setattr__(self, "lower_sizes", tuple(self.lower_sizes))  # JSON has only lists
            sizes_fit = all(type(size) is int and 1 <= size <= _MAX_SIZE for size in self.lower_sizes)
            if len(self.lower_sizes) != self.layers - 1 or not sizes_fit:
                raise UsageError(
                    f"model: lower_sizes={self.lower_sizes!r}; pass one integer for each of the "
                    f"{self.layers - 1} layers below the last"
                )

    def as_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values, without `lower_sizes` if it is None."""
        values = asdict(self)
        if self.lower_sizes is None:
            del values["lower_sizes"]
        return values


class RecurrentStack(nn.Module):
    """Stacked recurrent layers of different size, with the interface of torch's recurrent modules.

    Attributes:
        layers: modules of one recurrent layer, from the bottom up.
        dropout: dropout between them.
    """

    def __init__(self, layers: Sequence[nn.RNNBase], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Tensor, state: tuple[HiddenState, ...] | None = None
    ) -> tuple[Tensor, tuple[HiddenState, ...]]:
        """Return the (batch, time, hidden) outputs of the last layer, and the state to continue from.

        Args:
            inputs: (batch, time, embedding).
            state: one state per layer; None for a new text.
        """
        outputs, states = inputs, []
        for depth, layer in enumerate(self.layers):
            before = outputs if depth == 0 else self.dropout(outputs)
            outputs, after = layer(before, None if state is None else state[depth])
            states.append(after)
        return outputs, tuple(states)


def detached(state: HiddenState) -> HiddenState:
    """Return the state detached from the graph of gradients."""
    return state.detach() if isinstance(state, Tensor) else tuple(map(detached, state))


class RecurrentModel(nn.Module):
    """Embedding and recurrent layers; base class of language model and classifier.

    Attributes:
        vocabulary: the words that the model knows.
        config: its configuration.
        embedding: (vocabulary, embedding) table.
        rnn: the recurrent layers, whose output is usually collected.
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
        """Return the (n + 2,) ids of n words, `<eos> w1 ... wn <eos>`; the two `<eos>` are never counted as words."""
        end = self.vocabulary.encode((END,))
        return [*end, *self.vocabulary.encode(words), *end]

    def hidden_states(self, ids: Tensor, state: HiddenState | None = None) -> tuple[Tensor, HiddenState]:
        """Return the (batch, time, hidden) outputs of the last recurrent layer, and the state to continue from.

        Args:
            ids: (batch, time) int64 ids.
            state: state to continue from; None for a new text.
        """
        outputs, state = self.rnn(self.dropout(self.embedding(ids)), state)
        return outputs, state


class RecurrentLanguageModel(RecurrentModel):
    """A recurrent language model, which predicts the next word.

    Attributes:
        decoder: linear layer, hidden -> vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary, config: RecurrentConfig) -> None:
        super().__init__(vocabulary, config)
        self.decoder = nn.Linear(config.hidden, len(vocabulary))
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        if config.tied:
            self.decoder.weight = self.embedding.weight

    def forward(self, ids: Tensor, state: HiddenState | None = None) -> tuple[Tensor, HiddenState]:
        """Return the (batch, time, vocabulary) logits of the next word, and the state to continue from.

        Args:
            ids: (batch, time) int64 ids.
            state: state to continue from; None for a new text.
        """
        outputs, state = self.hidden_states(ids, state)
        return self.decoder(self.dropout(outputs)), state

    def predicted(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most likely next word after each state.

        Args:
            hidden: (n, hidden) states, without gradients.

        Returns:
            (n,) ids, and (n,) their logits: NaN if any logit of the state is NaN.
        """
        weight, bias = self.decoder.weight, self.decoder.bias
        parts = torch.split(hidden.to(weight.dtype), _DECODE_ROWS)
        # One buffer: allocating memory for every part costs more than the product itself if states are small.
        logits = weight.new_empty((len(parts[0]), len(self.vocabulary)))
        best, value = [], []
        for part in parts:
            part_logits = logits[: len(part)]
            if weight.device.type == "cpu" and weight.dtype is torch.float32:
                best.append(_decoded_by_numpy(part, weight, bias, part_logits))
            else:
                torch.addmm(bias, part, weight.T, out=part_logits)
                best.append(part_logits.argmax(dim=1))
            value.append(part_logits.gather(1, best[-1][:, None]).squeeze(1))
        return torch.cat(best), torch.cat(value)


def _decoded_by_numpy(part: Tensor, weight: Tensor, bias: Tensor, logits: Tensor) -> Tensor:
    """Write the logits of some states, and return the index of the largest one.

    On the CPU measured, NumPy multiplies matrices about 1.6 times as fast as torch, and finds maxima 7 times as fast.
    """
    values = logits.numpy()
    np.matmul(part.numpy(), weight.detach().numpy().T, out=values)
    values += bias.detach().numpy()
    return torch.from_numpy(values.argmax(axis=1))


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
    """Return an untrained language model; its recurrent layer is named `rnn`.

    >>> corpus = txray.demo_corpus("reviews", words=500)
    >>> language_model("gru", corpus, hidden=8).rnn
    GRU(300, 8, batch_first=True)

    Args:
        cell: `lstm`, `gru`, `rnn-tanh` or `rnn-relu`.
        corpus_or_vocabulary: a corpus whose words the model will know, or a vocabulary.
        embedding, hidden, layers, dropout, tied: see `RecurrentConfig`.
        vocabulary_size: number of words to take from a corpus, `<unk>` and `<eos>` included; None for all.
        lowercase: whether words from a corpus are lower-cased.
        seed: random seed of the weights; the global random state is not changed.

    Raises:
        UnknownNameError: unknown cell.
        UsageError: a size is out of range, or `vocabulary_size` is given with a vocabulary.
    """
    config = RecurrentConfig(cell, embedding, hidden, layers, dropout, tied)
    if isinstance(corpus_or_vocabulary, Vocabulary):
        if vocabulary_size is not None:
            raise UsageError(
                f"language_model: vocabulary_size={vocabulary_size} cannot be combined with a vocabulary; omit it"
            )
        vocabulary = corpus_or_vocabulary
    else:
        vocabulary = Vocabulary.from_corpus(corpus_or_vocabulary, vocabulary_size, lowercase)
    with seeded_weights(seed):
        return RecurrentLanguageModel(vocabulary, config).eval()


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Seed torch inside the block, and restore its random state afterwards."""
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
        [_layers(config.cell, inputs, size) for inputs, size in pairwise(sizes)], config.dropout
    )


def _layers(cell: Cell, inputs: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> nn.RNNBase:
    if cell == "lstm":
        return nn.LSTM(inputs, hidden, layers, batch_first=True, dropout=dropout)
    if cell == "gru":
        return nn.GRU(inputs, hidden, layers, batch_first=True, dropout=dropout)
    nonlinearity = cell.removeprefix("rnn-")
    return nn.RNN(inputs, hidden, layers, nonlinearity=nonlinearity, batch_first=True, dropout=dropout)
