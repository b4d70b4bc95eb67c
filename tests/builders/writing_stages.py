"""Two stages of a small language model with the words that it predicts and the tokens that its neurons write."""

from __future__ import annotations

from functools import cache

from tests.builders.texts import corpus_of, documents
from txray import Stage, collect
from txray.models import Vocabulary, language_model

HOSTILE = "<b>bold</b>"


@cache
def writing_stages() -> tuple[Stage, Stage]:
    """Return the stages; the model knows a word that looks like HTML, and one of its neurons is dead."""
    corpus = corpus_of(documents(24))
    words = sorted({word.lower() for document in corpus for word in document.words if word.isalpha()})
    stages = []
    for seed, name in enumerate(("before", "after")):
        model = language_model(
            "gru", Vocabulary(("<unk>", "<eos>", HOSTILE, *words[:30])), hidden=8, seed=seed
        )
        model.decoder.weight.data[:, 7] = 0
        options = {"feature_types": ["token", "output"], "selection": "max-1/zscore", "output_tokens": 12}
        stages.append(collect(model, corpus, name=name, **options))  # type: ignore[arg-type]
    return stages[0], stages[1]
