"""The published way of working, written from its description: what txray is measured against.

Words are read one at a time, the whole activation vector of each goes into a row of a text file, and a pandas
loop over neurons and features computes distances.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from txray.corpus import Document
from txray.models import RecurrentLanguageModel
from txray.models.vocabulary import END

Means = Callable[[pd.DataFrame, int], "pd.Series[float]"]


def collect_word_by_word(
    model: RecurrentLanguageModel, documents: Iterable[Document], file: Path, *, outputs: bool
) -> int:
    """One word at a time; returns the number of words.

    Args:
        model: on the CPU.
        documents: with `pos`.
        file: to write to.
        outputs: whether the predicted next word is written, too.
    """
    words = 0
    # Its step for single words is ten times slower with oneDNN, which would flatter everybody else.
    with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=False), file.open("w") as stream:
        table = csv.writer(stream)
        for document in documents:
            _, state = model.hidden_states(torch.tensor([model.vocabulary.encode([END])]))
            for word, tag in zip(document.words, document.annotations["pos"], strict=True):
                ids = torch.tensor([model.vocabulary.encode([word])])
                hidden, state = model.hidden_states(ids, state)
                scores = model.decoder(hidden)  # the whole model runs, whether or not its outputs are wanted
                activation = hidden[0, 0]
                value, neuron = activation.max(dim=0)
                row = [word, tag, int(neuron), float(value), " ".join(map(str, activation.tolist()))]
                if outputs:
                    row.append(model.vocabulary.words[int(scores[0, 0].argmax())])
                table.writerow(row)
                words += 1
    return words


def means_word_by_word(records: pd.DataFrame, neuron: int) -> pd.Series[float]:
    """Mean activation of each word that a neuron won, one selection per word, as the published loop does it."""
    wins = records[records["neuron"] == neuron]
    return pd.Series(
        {token: wins[wins["token"] == token]["activation"].mean() for token in wins["token"].unique()},
        dtype=float,
    )


def means_by_groups(records: pd.DataFrame, neuron: int) -> pd.Series[float]:
    """Return the means by pandas' own grouping, the fastest form of such a loop."""
    return records[records["neuron"] == neuron].groupby("token")["activation"].mean()


def hellinger_by_loops(
    before: pd.DataFrame, after: pd.DataFrame, neurons: Iterable[int], means: Means
) -> list[float | None]:
    """Distances from the records of two stages, neuron by neuron and feature by feature.

    Args:
        before, after: one record per word: token, neuron, activation.
        neurons: whose distances are wanted.
        means: how the mean activations of a neuron are found.
    """
    distances: list[float | None] = []
    for neuron in neurons:
        p, q = (means(records, neuron) for records in (before, after))
        if p.empty or q.empty:
            distances.append(None)
            continue
        p, q = p / p.sum(), q / q.sum()
        total = 0.0
        for token in sorted({*p.index, *q.index}):
            total += (np.sqrt(p.get(token, 0.0)) - np.sqrt(q.get(token, 0.0))) ** 2
        distances.append(float(np.sqrt(total / 2)))
    return distances
