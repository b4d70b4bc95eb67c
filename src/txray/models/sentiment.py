"""A sentiment classifier on top of a recurrent encoder."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from txray.errors import UnknownNameError
from txray.models.recurrent import RecurrentConfig, RecurrentModel, seeded_weights
from txray.models.vocabulary import Vocabulary

Pooling = Literal["last", "last+avg+max"]


class SentimentClassifier(RecurrentModel):
    """Classifies documents as positive or negative.

    Attributes:
        pooling: what the head reads. `last`: the hidden state at the final `<eos>` (the paper). `last+avg+max`: also
            the average and the maximum of the hidden states over the words.
        head: linear layer, features -> 1; the sigmoid of its output is the probability of `pos`.
        classes: the labels; the second one is the class whose probability is returned.

    Source:
        Rethmeier et al. 2020, section 3 (`last`).
    """

    classes: ClassVar[tuple[str, str]] = ("neg", "pos")

    def __init__(self, vocabulary: Vocabulary, config: RecurrentConfig, pooling: Pooling = "last") -> None:
        if pooling not in get_args(Pooling):
            raise UnknownNameError.of("pooling", pooling, get_args(Pooling))
        super().__init__(vocabulary, config)
        self.pooling = pooling
        self.head = nn.Linear(config.hidden * len(pooling.split("+")), 1)

    def pool(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the (batch, features) that the head reads, independent of padding.

        Args:
            outputs: (batch, time, hidden) hidden states of documents padded on the right.
            lengths: (batch,) int64 numbers of positions in use, the two `<eos>` included: at least 3.
        """
        rows = torch.arange(len(outputs), device=outputs.device)
        last = outputs[rows, lengths - 1]
        if self.pooling == "last":
            return last
        position = torch.arange(outputs.shape[1], device=outputs.device)
        no_word = ((position < 1) | (position >= lengths[:, None] - 1))[..., None]
        average = outputs.masked_fill(no_word, 0.0).sum(dim=1) / (lengths - 2)[:, None]
        strongest = outputs.masked_fill(no_word, -torch.inf).amax(dim=1)
        return torch.cat((last, average, strongest), dim=1)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the (batch,) logits of the class `pos`.

        Args:
            ids: (batch, time) int64 ids of documents as `encode` returns them, padded on the right with any id.
            lengths: see `pool`.
        """
        outputs, _ = self.hidden_states(ids)
        logits: Tensor = self.head(self.dropout(self.pool(outputs, lengths)))
        return logits.squeeze(1)


def classifier(encoder: RecurrentModel, pooling: Pooling = "last", *, seed: int = 0) -> SentimentClassifier:
    """Return a classifier with the vocabulary and weights of a pretrained model, and an untrained head.

    >>> corpus = txray.demo_corpus("reviews", words=500)
    >>> classifier(txray.models.language_model("gru", corpus, hidden=8), "last+avg+max").head
    Linear(in_features=24, out_features=1, bias=True)

    Args:
        encoder: a language model, or another classifier; it is not changed.
        pooling: what the head reads; see `SentimentClassifier`.
        seed: random seed of the head's weights; the global random state is not changed.

    Raises:
        UnknownNameError: unknown pooling.
    """
    with seeded_weights(seed):
        model = SentimentClassifier(encoder.vocabulary, encoder.config, pooling)
    model.embedding.load_state_dict(copy.deepcopy(encoder.embedding.state_dict()))
    model.rnn.load_state_dict(copy.deepcopy(encoder.rnn.state_dict()))
    return model.eval()
