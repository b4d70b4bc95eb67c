from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.training_texts import RING, VOCABULARY
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import CorpusError
from txray.training.stream import IGNORED, StreamBatches, TokenStream

TEXTS = st.lists(
    st.lists(st.sampled_from([*RING, "B", "other", "<unk>"]), min_size=1, max_size=9).map(tuple),
    min_size=1,
    max_size=6,
)


def corpus_of(texts: list[tuple[str, ...]]) -> Corpus:
    return Corpus.from_documents("t", [Document(str(number), words) for number, words in enumerate(texts)])


@given(texts=TEXTS)
def test_stream_is_the_documents_between_ends(texts: list[tuple[str, ...]]) -> None:
    stream = TokenStream.of(corpus_of(texts), VOCABULARY)
    expected = [1]
    for words in texts:
        expected += [
            VOCABULARY.words.index(w.lower()) if w.lower() in VOCABULARY.words else 0 for w in words
        ] + [1]
    assert stream.ids.tolist() == expected
    assert stream.ids.dtype == torch.int64
    assert stream.words == sum(map(len, texts))
    assert stream.documents == len(texts)
    assert stream.unknown == sum(word in ("other", "<unk>") for words in texts for word in words)


@given(size=st.integers(2, 60), n_rows=st.integers(1, 8), bptt=st.integers(1, 9))
def test_windows_are_those_of_a_plain_numpy_cut(size: int, n_rows: int, bptt: int) -> None:
    ids = np.arange(100, 100 + size)
    time = -(-(size - 1) // n_rows)
    filled = np.full(n_rows * time + 1, -1)
    filled[:size] = ids
    rows = [filled[row * time : (row + 1) * time + 1] for row in range(n_rows)]

    cut = StreamBatches.of(torch.from_numpy(ids), n_rows)
    windows = list(cut.windows(bptt))
    assert len(windows) == cut.window_count(bptt) == -(-time // bptt)
    seen = []
    for number, (inputs, targets) in enumerate(windows):
        for index, row in enumerate(rows):
            start = number * bptt
            for step in range(inputs.shape[1]):
                word, following = row[start + step], row[start + step + 1]
                if following >= 0:
                    assert inputs[index, step] == word
                    assert targets[index, step] == following
                    seen.append(int(following))
                else:
                    assert targets[index, step] == IGNORED
    assert sorted(seen) == list(range(101, 100 + size)), "each position but the first is a target once"


def test_fingerprint_is_that_of_the_ids() -> None:
    one, same = (TokenStream.of(corpus_of([("a", "b"), ("c",)]), VOCABULARY) for _ in range(2))
    assert one.fingerprint == same.fingerprint
    for other in ([("a", "b", "c")], [("a",), ("b", "c")], [("a", "b"), ("d",)]):
        assert TokenStream.of(corpus_of(other), VOCABULARY).fingerprint != one.fingerprint


def test_refuses_an_empty_corpus() -> None:
    with pytest.raises(CorpusError, match="no documents"):
        TokenStream.of(Corpus.from_documents("none", []), VOCABULARY)
