"""Merge stages, such as the shards of a corpus, into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from txray.errors import ShapeError, UsageError
from txray.preferences.documents import WITHOUT_GROUP, counts_of, merged_documents
from txray.preferences.exemplars import EXEMPLAR_SCHEMA
from txray.preferences.folds import document_key
from txray.preferences.histograms import merged_histograms
from txray.preferences.preferences import Preferences
from txray.preferences.stage import Stage
from txray.preferences.stage_warnings import stage_warnings, wins_of
from txray.preferences.tags import TAG_SCHEMA
from txray.preferences.tally import Tally

_EQUAL = ("model", "reading", "exemplars", "selection", "output_tokens", "concepts")
_READING = ("layout", "shift", "of", "call")
"""Keys of a layer in the manifest that say which activations were read."""
_COUNTED = ("counted", "skipped")
"""Keys of a layer in the manifest that are added up; all others are equal in all stages."""
_EXEMPLARS = 8
"""Per neuron, if the manifest does not say."""


def merge_stages(stages: Sequence[Stage], name: str | None = None) -> Stage:
    """Return the stage that one pass over all documents would have given.

    Counts are exactly those of the single pass; sums differ by rounding only, because of the order of addition.

    Args:
        stages: of the same model, layers, features, selection and folds, over different documents, such as the shards
            of one corpus in any order, merged in part or not.
        name: of the merged stage; the first stage's by default.

    Raises:
        UsageError: fewer than one stage, a shard twice, or shards of different corpora.
        ShapeError: stages collected in different ways.
    """
    if not stages:
        raise UsageError("merge: no stages; pass at least one")
    first = stages[0]
    for other in stages[1:]:
        _require_same(first, other)
    _require_different_documents(stages)
    name = name or first.name
    collected: dict[tuple[str, str], Preferences] = {}
    for key in first.collected:
        merged = _merged([stage.collected[key] for stage in stages], name)
        collected[key] = _sharing(merged, collected.values())
    return Stage(
        name,
        collected,
        strongest([stage.exemplars for stage in stages], first.layers, exemplars_per_neuron(first)),
        _manifest(stages, collected),
        _tags([stage.tags for stage in stages]),
        first.scales,
        merged_documents([stage.documents for stage in stages]),
        first.output_tokens,
        {
            key: merged_histograms([stage.histograms[key] for stage in stages], name)
            for key in first.histograms
        },
    )


def _require_different_documents(stages: Sequence[Stage]) -> None:
    """Raise for complete stages of the same documents; shards are distinguished by their numbers."""
    seen: dict[str, str] = {}
    for stage in stages:
        corpus = stage.manifest.get("corpus", {})
        digest = corpus.get("documents_digest")
        if _shards(corpus) is not None or not corpus.get("documents") or digest is None:
            continue
        if digest in seen:
            raise UsageError(
                f"merge: stages {seen[digest]!r} and {stage.name!r} read the same documents, which would count twice; "
                "pass each once"
            )
        seen[digest] = stage.name


def _require_same(first: Stage, other: Stage) -> None:
    def differ(what: str, one: object, two: object) -> None:
        raise ShapeError(
            f"cannot merge stage {other.name!r} into {first.name!r}: {what} {two!r}, not {one!r}; collect all in "
            "the same way"
        )

    if first.collected.keys() != other.collected.keys():
        differ("it has (layer, feature)", sorted(first.collected), sorted(other.collected))
    for key in _EQUAL:
        if first.manifest.get(key) != other.manifest.get(key):
            differ(key, first.manifest.get(key), other.manifest.get(key))
    for (layer, feature_type), one in first.collected.items():
        two = other.collected[layer, feature_type]
        for what in ("n_neurons", "folds", "selection"):
            if getattr(one, what) != getattr(two, what):
                differ(f"layer {layer!r} has {what}", getattr(one, what), getattr(two, what))
        accounts = [_of(stage.manifest, layer) for stage in (first, other)]
        for what in _READING:
            values = [account.get(what) for account in accounts]
            if values[0] != values[1]:
                differ(f"layer {layer!r} has {what}", *values)
    if not first.scales.equals(other.scales):
        raise ShapeError(
            f"cannot merge stage {other.name!r} into {first.name!r}: they were standardized differently; collect the "
            "shards with the scales of one stage"
        )


def _merged(parts: Sequence[Preferences], name: str) -> Preferences:
    tally = Tally(parts[0].n_neurons, parts[0].folds)
    if all(part.runner_ups is not None for part in parts):
        tally.count_runner_ups()
    for part in parts:
        tally.merge(Tally.of(part))
    return tally.freeze(
        stage=name, layer=parts[0].layer, feature_type=parts[0].feature_type, selection=parts[0].selection
    )


def _sharing(merged: Preferences, others: Iterable[Preferences]) -> Preferences:
    """Return the same preferences, sharing the vocabulary of other layers: memory that many layers would multiply."""
    for other in others:
        if (
            other.feature_type == merged.feature_type
            and np.array_equal(other.corpus_counts, merged.corpus_counts)
            and np.array_equal(other.features, merged.features)
        ):
            return replace(merged, features=other.features, corpus_counts=other.corpus_counts)
    return merged


def exemplars_per_neuron(stage: Stage) -> int:
    """Return the maximum number of exemplars per neuron of a stage."""
    return int(stage.manifest.get("exemplars", _EXEMPLARS))


def strongest(tables: Iterable[pl.DataFrame], layers: Sequence[str], per_neuron: int) -> pl.DataFrame:
    """Return up to `per_neuron` strongest exemplars of the tables, by activation, then document key, then position."""
    together = pl.concat([table.select(*EXEMPLAR_SCHEMA) for table in tables])
    index = {layer: number for number, layer in enumerate(layers)}
    keys = {document: document_key(document) for document in together["document"].unique().to_list()}
    return (
        together.with_columns(
            pl.Series("_layer", [index[layer] for layer in together["layer"]], pl.Int64),
            pl.Series("_key", [keys[document] for document in together["document"]], pl.Int64),
        )
        .sort(
            ["_layer", "neuron", "activation", "_key", "position"],
            descending=[False, False, True, False, False],
        )
        .with_columns(rank=pl.int_range(pl.len()).over("_layer", "neuron"))
        .filter(pl.col("rank") < per_neuron)
        .select(*EXEMPLAR_SCHEMA)
    )


def _tags(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    together = pl.concat([table.select(*TAG_SCHEMA) for table in tables])
    return (
        together.group_by("token", "pos").agg(pl.col("count").sum()).sort("token", "pos").select(*TAG_SCHEMA)
    )


def _manifest(stages: Sequence[Stage], collected: Mapping[tuple[str, str], Preferences]) -> dict[str, Any]:
    manifests = [stage.manifest for stage in stages]
    words = sum(int(manifest.get("words", 0)) for manifest in manifests)
    unknown = sum(int(manifest.get("unknown_words", 0)) for manifest in manifests)
    layers = {
        layer: {
            "counted": sum(int(_of(manifest, layer)["counted"]) for manifest in manifests),
            "skipped": _summed(_of(manifest, layer)["skipped"] for manifest in manifests),
            **{key: value for key, value in _of(manifests[0], layer).items() if key not in _COUNTED},
            **({"random": True} if any(_of(manifest, layer).get("random") for manifest in manifests) else {}),
        }
        for layer in stages[0].layers
    }
    read_as = _summed(manifest.get("text", {}) for manifest in manifests)
    corpus = {**_corpus([manifest.get("corpus", {}) for manifest in manifests]), **_counts(stages)}
    return {
        **manifests[0],
        **({"text": read_as} if read_as else {}),
        "corpus": corpus,
        "words": words,
        "unknown_words": unknown,
        "unknown_share": unknown / words if words else 0.0,
        "layers": layers,
        "warnings": [
            str(warning) for warning in stage_warnings(wins_of(collected, layers), layers, corpus, words)
        ],
    }


def _counts(stages: Sequence[Stage]) -> dict[str, int]:
    """Count groups and repeated texts again, because a text and its copy may be in different shards.

    Stages with unknown texts, made by hand or by an earlier version, are left out.
    """
    known = [stage for stage in stages if len(stage.documents)]
    if not known:
        return {}
    corpora = [stage.manifest.get("corpus", {}) for stage in known]
    documents, without_group = (
        sum(int(corpus.get(name, 0)) for corpus in corpora) for name in ("documents", WITHOUT_GROUP)
    )
    words = sum(int(stage.manifest.get("words", 0)) for stage in known)
    table = merged_documents([stage.documents for stage in known])
    return counts_of(table, documents=documents, words=words, without_group=without_group)


def _of(manifest: Mapping[str, Any], layer: str) -> Mapping[str, Any]:
    account: Mapping[str, Any] = manifest.get("layers", {}).get(layer, {"counted": 0, "skipped": {}})
    return account


def _corpus(corpora: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Describe what was read together: the whole corpus if no shard is missing."""
    skipped = [corpus.get("documents_skipped", {}) for corpus in corpora]
    shards = [_shards(corpus) for corpus in corpora]
    documents = {
        "documents": sum(int(corpus.get("documents", 0)) for corpus in corpora),
        "documents_digest": f"{sum(int(str(c.get('documents_digest', '0')), 16) for c in corpora) % (1 << 256):064x}",
    }
    known = [shard for shard in shards if shard is not None]
    if not known:
        return {
            "name": "+".join(dict.fromkeys(str(corpus.get("name")) for corpus in corpora)),
            "fingerprint": "+".join(str(corpus.get("fingerprint")) for corpus in corpora),
            **documents,
            "documents_skipped": _summed(skipped),
        }
    wholes = {whole for whole, _ in known}
    if len(known) < len(shards) or len(wholes) > 1:
        raise UsageError(
            "merge: shards of different corpora, or a shard and a whole corpus; merge the shards of one corpus"
        )
    ((name, fingerprint, n_shards),) = wholes
    times_read = Counter(number for _, numbers in known for number in numbers)
    twice = sorted(number for number, times in times_read.items() if times > 1)
    if twice:
        raise UsageError(f"merge: shard {twice[0]}/{n_shards} twice; pass each once")
    missing = sorted(set(range(1, n_shards + 1)) - set(times_read))
    return {
        "name": name,
        "fingerprint": fingerprint,
        **documents,
        # Every shard passes the same documents on the way to its own, so each has counted the same ones as skipped.
        "documents_skipped": {
            reason: max(int(counts.get(reason, 0)) for counts in skipped)
            for reason in sorted({*chain.from_iterable(skipped)})
        },
        **({"shards_missing": [f"{number}/{n_shards}" for number in missing]} if missing else {}),
    }


def _shards(corpus: Mapping[str, Any]) -> tuple[tuple[str, str, int], set[int]] | None:
    """Return (name, fingerprint, number of shards) of the whole corpus, and the shards read; None for all of it."""
    if shard := corpus.get("shard"):
        return (shard["name"], shard["fingerprint"], shard["of"]), {shard["number"]}
    if not (missing := corpus.get("shards_missing")):
        return None
    n_shards = int(missing[0].partition("/")[2])
    numbers = set(range(1, n_shards + 1)) - {int(shard.partition("/")[0]) for shard in missing}
    return (corpus["name"], corpus["fingerprint"], n_shards), numbers


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts by reason, sorted by reason."""
    total: Counter[str] = Counter()
    for by_reason in counts:
        total.update({reason: int(count) for reason, count in by_reason.items()})
    return dict(sorted(total.items()))
