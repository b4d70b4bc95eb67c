"""Families of transformers, with and without a head, against transformers alone: one window at a time, no padding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders.families import CASES, WORDS, Family, tokenizer
from txray.capture import collect
from txray.corpus import Corpus, Document
from txray.models import from_transformers
from txray.preferences import Stage

CLS, SEP = 0, 2
OF_THE_ENCODER = ("encoder_attn.k_proj", "EncDecAttention.v", "crossattention.self.key")
"""Ends of the names of layers that are in a decoder and see the encoder's positions."""

Pairs = dict[tuple[int, str], tuple[int, float]]


def texts() -> list[Document]:
    """Documents of many lengths; two are longer than what the models here read at once."""
    draw = np.random.default_rng(3)
    words = [*WORDS, "ab", "cafe", "bed"]  # the last ones in several pieces
    return [
        Document(f"d{n}", tuple(draw.choice(words, length).tolist()))
        for n, length in enumerate((1, 2, 3, 5, 5, 7, 8, 9, 11, 12, 14, 31, 47))
    ]


def windows(words: Sequence[str], room: int | None) -> Iterator[tuple[list[int], list[str], list[list[int]]]]:
    """Ids between special ones, and the words of each window with the positions of their pieces."""
    encoded = tokenizer()(list(words), is_split_into_words=True, add_special_tokens=False)
    pieces = [
        [i for i, owner in zip(encoded["input_ids"], encoded.word_ids(), strict=True) if owner == n]
        for n in range(len(words))
    ]
    ids: list[int] = [CLS]
    inside: list[str] = []
    steps: list[list[int]] = []
    for word, own in zip(words, pieces, strict=True):
        if room is not None and len(ids) + len(own) + 1 > room:
            yield [*ids, SEP], inside, steps
            ids, inside, steps = [CLS], [], []
        steps.append(list(range(len(ids), len(ids) + len(own))))
        inside.append(word)
        ids += own
    yield [*ids, SEP], inside, steps


def alone(family: Family, module: Any, prefix: str) -> dict[str, Pairs]:
    """Which neuron is strongest at each word, by layer: how often, and the sum of its activations."""
    outputs: dict[str, Any] = {}

    def keep(layer: str) -> Any:
        return lambda _, __, output: outputs.update({layer: output if torch.is_tensor(output) else output[0]})

    hooks = [
        module.get_submodule(prefix + layer).register_forward_hook(keep(layer)) for layer in family.layers
    ]
    values_of: dict[str, Any] = {layer: defaultdict(list) for layer in family.layers}
    for document in texts():
        for ids, words, steps in windows(document.words, family.limit):
            given = {"input_ids": torch.tensor([ids])}
            if family.start is not None:
                given["decoder_input_ids"] = torch.tensor([[family.start, *ids[:-1]]])
            with torch.no_grad():
                module(**given)
            for layer in family.layers:
                lag = int(layer.startswith("decoder.") and family.start is not None)
                lag = 0 if layer.endswith(OF_THE_ENCODER) else lag
                rows = outputs[layer].reshape(len(ids), -1).double()
                for word, own in zip(words, steps, strict=True):
                    strongest = rows[[step + lag for step in own]].max(dim=0).values
                    neuron = int(strongest.argmax())
                    if strongest[neuron] > 0:
                        values_of[layer][neuron, word].append(float(strongest[neuron]))
    for hook in hooks:
        hook.remove()
    return {
        layer: {pair: (len(values), sum(values)) for pair, values in pairs.items()}
        for layer, pairs in values_of.items()
    }


def collected(family: Family, module: Any, prefix: str, **options: Any) -> Stage:
    model = from_transformers(module, tokenizer())
    layers = [prefix + layer for layer in family.layers]
    return collect(model, Corpus.from_documents("c", texts()), layers=layers, name="s", **options)


def pairs_of(stage: Stage, layer: str) -> Pairs:
    table = stage.preferences(layer=layer).table().select("neuron", "feature", "count", "sum")
    return {(neuron, word): (count, total) for neuron, word, count, total in table.iter_rows()}


def prefix_of(module: Any, head: str) -> str:
    """What the names of layers begin with where there is a head."""
    prefix = module.base_model_prefix
    return f"{prefix}." if head and hasattr(module, prefix) else ""


def wrong_pairs(one: Pairs, other: Pairs) -> list[tuple[int, str]]:
    return [
        pair
        for pair in one.keys() | other.keys()
        if one.get(pair, (0,))[0] != other.get(pair, (0,))[0]
        or one[pair][1] != pytest.approx(other[pair][1], rel=1e-4, abs=1e-5)
    ]


@pytest.mark.parametrize(("family", "head"), CASES, ids=lambda case: getattr(case, "name", case))
def test_words_are_credited_as_by_transformers_alone(family: Family, head: str) -> None:
    module = family.build(head)
    prefix = prefix_of(module, head)
    expected = alone(family, module, prefix)
    stage = collected(family, module, prefix)
    for layer in family.layers:
        assert wrong_pairs(pairs_of(stage, prefix + layer), expected[layer]) == [], layer
        assert sum(count for count, _ in expected[layer].values()) > 100
    reading = stage.manifest["reading"]
    assert reading["batches"] == ("padded" if family.ignores_padding else "equal lengths")
    assert reading["limit"] == (family.limit or 1024)
