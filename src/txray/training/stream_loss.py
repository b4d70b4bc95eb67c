"""The loss of a language model on a stream of documents."""

from __future__ import annotations

import torch
from torch import Tensor

from txray.corpus.corpus import Corpus
from txray.models.base_model import in_evaluation_mode
from txray.models.recurrent import HiddenState, RecurrentLanguageModel
from txray.training.cross_entropy import next_word_loss
from txray.training.stream import IGNORED, StreamBatches, TokenStream

# Each row of a batch starts without context, so rows are long. Their number depends on the text alone, so the batch
# size of the training does not change the loss.
_WORDS_PER_ROW = 1_000
_MAX_ROWS = 64
_WINDOW = 64


def language_model_loss(model: RecurrentLanguageModel, corpus: Corpus) -> float:
    """Return the loss in nats per word, counting the `<eos>` of each document; its exponential is the perplexity.

    Args:
        model: on any device; evaluated without dropout and left unchanged.
        corpus: read once, as one stream.

    Raises:
        CorpusError: the corpus is empty or cannot be read.
    """
    with in_evaluation_mode(model):
        return stream_loss(model, TokenStream.of(corpus, model.vocabulary).ids)


@torch.no_grad()
def stream_loss(model: RecurrentLanguageModel, ids: Tensor) -> float:
    """Return the mean nats per word of the (n,) int64 ids of a stream, for a model in `eval()` mode.

    Each position except the first is predicted once.
    """
    device = model.embedding.weight.device
    batches = StreamBatches.of(ids, min(_MAX_ROWS, max(1, len(ids) // _WORDS_PER_ROW)))
    state: HiddenState | None = None
    total, words = 0.0, 0
    for inputs, targets in batches.windows(_WINDOW):
        loss, state, count = window_loss(model, (inputs.to(device), targets.to(device)), state)
        total += loss.item() * count
        words += count
    return total / words


def window_loss(
    model: RecurrentLanguageModel, window: tuple[Tensor, Tensor], state: HiddenState | None
) -> tuple[Tensor, HiddenState, int]:
    """Return the mean nats per word of one window, the hidden state after it, and the number of words.

    Args:
        model: in either mode; dropout applies in `train()` mode.
        window: (rows, steps) inputs and targets.
        state: hidden state before the window; None at the start of a stream.
    """
    inputs, targets = window
    outputs, state = model.hidden_states(inputs, state)
    used = targets != IGNORED
    right = targets[used]
    loss = next_word_loss(model.dropout(outputs)[used], model.decoder.weight, model.decoder.bias, right)
    return loss, state, len(right)
