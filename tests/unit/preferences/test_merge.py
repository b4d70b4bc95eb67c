"""Shards merged equal one pass over the whole, by the real collection."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.text_models import transformer
from tests.builders.texts import corpus_of, documents, small_model
from tests.unit.capture.test_collect import same_preferences
from txray.capture import collect
from txray.corpus import Corpus, Document
from txray.errors import ShapeError, UsageError
from txray.preferences import Stage, merge_stages

LINEAR = "encoder.layers.0.linear1"

pytestmark = pytest.mark.filterwarnings("ignore::txray.errors.DuplicateWarning")


def whole_and_shards(of: int, n: int = 40, **options: Any) -> tuple[Stage, list[Stage]]:
    corpus, model = corpus_of(documents(n)), transformer()
    asked = {
        "layers": [LINEAR, "embedding"],
        "feature_types": ["token", "pos"],
        "exemplars": 3,
        "name": "s",
        **options,
    }
    shards = [collect(model, corpus.shard(number, of), **asked) for number in range(1, of + 1)]
    return collect(model, corpus, **asked), shards


@pytest.mark.parametrize("selection", ["max-1", "all", "max-position", "threshold=0.3"])
@pytest.mark.parametrize("of", [1, 3, 8])
def test_merged_shards_equal_the_single_pass(selection: str, of: int, tmp_path: Path) -> None:
    whole, shards = whole_and_shards(of, selection=selection)
    merged = merge_stages(shards[::-1])
    # One batch holds other documents in a shard, which changes the last bits of the model's own arithmetic.
    same_preferences(only(whole, LINEAR), only(merged, LINEAR), atol=1e-5)
    same_preferences(only(whole, "embedding"), only(merged, "embedding"), rtol=1e-9)
    assert merged.manifest == whole.manifest
    assert merged.tags.equals(whole.tags)
    of_embedding = [stage.exemplars.filter(layer="embedding") for stage in (whole, merged)]
    assert of_embedding[0].equals(of_embedding[1])
    assert of_embedding[0]["activations"].null_count() == 0
    merged.save(tmp_path / "merged")
    assert (
        Stage.load(tmp_path / "merged").preferences(layer=LINEAR).words
        == whole.preferences(layer=LINEAR).words
    )


def only(stage: Stage, layer: str) -> Stage:
    return Stage(
        stage.name, {key: p for key, p in stage.collected.items() if key[0] == layer}, stage.exemplars
    )


def test_shards_of_one_word_and_merging_in_steps() -> None:
    made = [
        Document(f"d{i}", (word,), {"pos": ("NN",)})
        for i, word in enumerate(("mill", "river", "mill", "old"))
    ]
    corpus, model = corpus_of(made), small_model()
    whole = collect(model, corpus, feature_types=["token", "pos"], name="s")
    shards = [
        collect(model, corpus.shard(number, 4), feature_types=["token", "pos"], name="s")
        for number in (1, 2, 3, 4)
    ]
    same_preferences(whole, merge_stages(shards))
    # In steps, the parts are no shards of one corpus any more, but the numbers are the same.
    halves = [
        merge_stages([strip(shards[0]), strip(shards[1])]),
        merge_stages([strip(shards[2]), strip(shards[3])]),
    ]
    same_preferences(whole, merge_stages(halves))


def strip(stage: Stage) -> Stage:
    corpus = {key: value for key, value in stage.manifest["corpus"].items() if key != "shard"}
    return replace(stage, manifest={**stage.manifest, "corpus": corpus})


def test_a_shard_says_what_it_is_a_part_of() -> None:
    corpus = corpus_of(documents(10))
    parts = [corpus.shard(number, 3) for number in (1, 2, 3)]
    ids = [[document.id for document in part] for part in parts]
    assert sorted(chain.from_iterable(ids)) == sorted(document.id for document in corpus)
    assert ids[1] == ["d0/1", "d0/4", "d0/7"]
    assert len({part.fingerprint for part in parts} | {corpus.fingerprint}) == 4
    assert parts[1].shard_info is not None
    assert (parts[1].shard_info.number, parts[1].shard_info.n_shards) == (2, 3)
    for number, of in ((0, 3), (4, 3), (1, 0)):
        with pytest.raises(UsageError, match=f"shard {number}/{of}"):
            corpus.shard(number, of)


def test_missing_shards_are_named() -> None:
    _, shards = whole_and_shards(3)
    merged = merge_stages([shards[2], shards[0]], "two of three")
    assert merged.name == "two of three"
    assert merged.manifest["corpus"]["shards_missing"] == ["2/3"]
    assert "shards_missing" not in merge_stages(shards).manifest["corpus"]


def test_what_does_not_belong_together_is_refused() -> None:
    whole, shards = whole_and_shards(2, n=8)
    with pytest.raises(UsageError, match="shard 1/2 twice"):
        merge_stages([shards[0], shards[0]])
    with pytest.raises(UsageError, match="a shard and a whole corpus"):
        merge_stages([shards[0], whole])
    foreign = Corpus.from_documents("o", documents(6, seed=5)).shard(2, 2)
    other = collect(
        transformer(),
        foreign,
        layers=[LINEAR, "embedding"],
        feature_types=["token", "pos"],
        exemplars=3,
        name="s",
    )
    with pytest.raises(UsageError, match="different corpora"):
        merge_stages([shards[0], other])
    for change in (
        {"folds": 4},
        {"exemplars": 2},
        {"selection": "all"},
        {"feature_types": ["token"]},
        {"layers": [LINEAR]},
    ):
        _, (_, differs) = whole_and_shards(2, n=8, **change)
        with pytest.raises(ShapeError, match="collect all in the same way"):
            merge_stages([shards[0], differs])
    _, standardized = whole_and_shards(2, n=8, selection="max-1/zscore")
    with pytest.raises(ShapeError, match="standardized differently"):
        merge_stages(standardized)
    with pytest.raises(UsageError, match="no stages"):
        merge_stages([])


def test_shards_standardized_by_one_stage_can_be_merged() -> None:
    scales = collect(
        transformer(),
        corpus_of(documents(40)),
        layers=[LINEAR, "embedding"],
        selection="max-1/zscore",
        name="s",
    )
    whole, shards = whole_and_shards(2, selection="max-1/zscore", scales=scales)
    same_preferences(only(whole, "embedding"), only(merge_stages(shards), "embedding"), rtol=1e-9)


def test_the_merged_manifest_is_plain_json() -> None:
    whole, shards = whole_and_shards(3)
    assert json.loads(json.dumps(merge_stages(shards).manifest)) == json.loads(json.dumps(whole.manifest))
    assert np.isclose(merge_stages(shards).manifest["unknown_share"], whole.manifest["unknown_share"])


def test_the_same_documents_are_never_counted_twice() -> None:
    whole, shards = whole_and_shards(2, n=8)
    with pytest.raises(UsageError, match="'s' and 'again' read the same documents, which would count twice"):
        merge_stages([whole, replace(whole, name="again")])
    other = collect(
        transformer(),
        corpus_of([replace(document, id=f"other-{document.id}") for document in documents(8)]),
        layers=[LINEAR, "embedding"],
        feature_types=["token", "pos"],
        exemplars=3,
        name="s",
    )
    assert merge_stages([whole, other]).manifest["words"] == 2 * whole.manifest["words"]
    assert merge_stages(shards).manifest["words"] == whole.manifest["words"]
