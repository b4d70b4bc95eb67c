"""Save and load models as folders of safetensors and JSON, which cannot run code.

model.safetensors   the weights; shared weights are stored once
model.json          type, configuration, checksums and metadata of the model
vocabulary.json     its words
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from txray.errors import SnapshotError, UsageError, in_one_line
from txray.files import atomic_folder, sha256_of
from txray.models.recurrent import RecurrentConfig, RecurrentLanguageModel, RecurrentModel, seeded_weights
from txray.models.sentiment import SentimentClassifier
from txray.models.vocabulary import Vocabulary

FORMAT = 1
_KINDS = {RecurrentLanguageModel: "language-model", SentimentClassifier: "sentiment-classifier"}
_WEIGHTS, MODEL, _VOCABULARY = "model.safetensors", "model.json", "vocabulary.json"


def save_model(model: RecurrentModel, folder: Path | str, **metadata: object) -> None:
    """Write a snapshot atomically; an existing snapshot is replaced.

    >>> model = txray.models.language_model("gru", txray.demo_corpus("reviews", words=500), hidden=8)
    >>> save_model(model, "snapshot", epoch=3)
    >>> snapshot_metadata("snapshot")
    {'epoch': 3}

    Args:
        model: a language model or a sentiment classifier.
        folder: folder of the snapshot.
        metadata: JSON values about the origin of the model, e.g. `epoch=3`; see `snapshot_metadata`.

    Raises:
        UsageError: another type of model, or one with additional or missing weights, such as one with
            parametrizations; nothing is written.
        OutputError: the folder cannot be written.
    """
    kind = _KINDS.get(type(model))
    if kind is None:
        raise UsageError(
            f"save_model: a {type(model).__name__} cannot be saved; pass one of: {', '.join(_KINDS.values())}"
        )
    _require_plain_weights(model, kind)
    with atomic_folder(Path(folder), markers=(MODEL,)) as new:
        weights = {name: weight.detach().cpu().contiguous() for name, weight in model.named_parameters()}
        save_file(weights, new / _WEIGHTS)
        (new / _WEIGHTS).chmod(0o644)  # safetensors creates files that only their owner can read
        vocabulary = model.vocabulary
        content = {"format": FORMAT, "lowercase": vocabulary.lowercase, "words": vocabulary.words}
        _write_json(new / _VOCABULARY, content)
        description = {
            "format": FORMAT,
            "kind": kind,
            "config": model.config.as_json(),
            "pooling": model.pooling if isinstance(model, SentimentClassifier) else None,
            "vocabulary_sha256": vocabulary.fingerprint,
            "weights_sha256": sha256_of(new / _WEIGHTS),
            "facts": metadata,
        }
        _write_json(new / MODEL, description)


def _require_plain_weights(model: RecurrentModel, kind: str) -> None:
    """Raise if the weights of a model differ from those of a new model of its type and configuration."""
    absent = next((name for name, weight in model.state_dict().items() if weight.is_meta), None)
    if absent is not None:
        raise UsageError(
            f"save_model: weight {absent} is on the device 'meta', without values; load the model's weights"
        )
    pooling = model.pooling if isinstance(model, SentimentClassifier) else None
    with torch.device("meta"):
        plain = _new_model(kind, model.vocabulary, model.config, pooling)
    shapes, expected = _shapes(model), _shapes(plain)
    if shapes == expected:
        return
    different = sorted(
        name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name)
    )
    if any(map(is_parametrized, model.modules())):
        remedy = "call torch.nn.utils.parametrize.remove_parametrizations first, or save a copy without them"
    elif any(name.endswith("_orig") for name in different):
        remedy = "call torch.nn.utils.prune.remove first, which makes the zeros permanent"
    elif any(name.endswith(("_g", "_v")) for name in different):
        remedy = "call torch.nn.utils.remove_weight_norm first"
    else:
        remedy = "pass a model created by txray"
    names = ", ".join(different[:4]) + (", ..." if len(different) > 4 else "")
    raise UsageError(
        f"save_model: weights {names} are not those of a {kind}, so the snapshot could not be loaded; {remedy}"
    )


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tuple(values.shape) for name, values in tensors}


def load_snapshot(folder: Path | str) -> RecurrentLanguageModel | SentimentClassifier:
    """Load a folder written by `save_model`: the model on the CPU, in evaluation mode.

    Raises:
        SnapshotError: a file is missing or damaged, words or sizes do not match the weights, or the format has another
            version.
    """
    folder = Path(folder)
    description = _read_json(folder, MODEL)
    vocabulary = _read_vocabulary(folder)
    if description.get("vocabulary_sha256") != vocabulary.fingerprint:
        raise SnapshotError(
            f"{folder / _VOCABULARY}: its {len(vocabulary)} words do not match the weights; "
            "copy the snapshot folder as a whole"
        )
    model = _build(folder / MODEL, description, vocabulary)
    _load_weights(model, folder / _WEIGHTS, description)
    return model.eval()


def snapshot_metadata(folder: Path | str) -> Mapping[str, Any]:
    """Return the metadata that was passed to `save_model`.

    Raises:
        SnapshotError: the snapshot is missing or damaged.
    """
    metadata: dict[str, Any] = _read_json(Path(folder), MODEL).get("facts", {})
    return metadata


def _build(
    file: Path, description: Mapping[str, Any], vocabulary: Vocabulary
) -> RecurrentLanguageModel | SentimentClassifier:
    with _damage_reported(file):
        kind = description["kind"]
        if kind not in _KINDS.values():
            known = ", ".join(_KINDS.values())
            raise SnapshotError(f"{file}: unknown type of model {kind!r}; known are: {known}")
        config = RecurrentConfig(**description["config"])
        with seeded_weights(0):
            return _new_model(kind, vocabulary, config, description["pooling"])


def _new_model(
    kind: str, vocabulary: Vocabulary, config: RecurrentConfig, pooling: Any
) -> RecurrentLanguageModel | SentimentClassifier:
    if kind == _KINDS[SentimentClassifier]:
        return SentimentClassifier(vocabulary, config, pooling)
    return RecurrentLanguageModel(vocabulary, config)


def _load_weights(model: nn.Module, file: Path, description: Mapping[str, Any]) -> None:
    with _damage_reported(file):
        weights = load_file(file)
    expected = dict(model.named_parameters())
    if weights.keys() != expected.keys():
        names = ", ".join(sorted(weights.keys() ^ expected.keys()))
        raise SnapshotError(
            f"{file}: does not match {MODEL}, differing weights: {names}; save the model again"
        )
    for name, parameter in expected.items():
        if weights[name].shape != parameter.shape:
            raise SnapshotError(
                f"{file}: {name} has shape {tuple(weights[name].shape)}, but {MODEL} and {_VOCABULARY} need "
                f"{tuple(parameter.shape)}; copy the snapshot folder as a whole"
            )
    if description.get("weights_sha256") != sha256_of(file):
        raise SnapshotError(
            f"{file}: damaged: its checksum differs from that in {MODEL}; save the model again"
        )
    for name, parameter in expected.items():
        parameter.data = weights[name]  # in the saved dtype


def _read_vocabulary(folder: Path) -> Vocabulary:
    file = folder / _VOCABULARY
    content = _read_json(folder, _VOCABULARY)
    with _damage_reported(file):
        words, lowercase = content["words"], content["lowercase"]
        if not isinstance(lowercase, bool) or not all(isinstance(word, str) for word in words):
            raise TypeError("words must be text, and lowercase true or false")
        return Vocabulary(tuple(words), lowercase)


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    with _damage_reported(file):
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
    if content.get("format") != FORMAT:
        raise SnapshotError(
            f"{file}: format {content.get('format')!r}; this version of txray reads format {FORMAT}; "
            "use the version that wrote it"
        )
    return content


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _damage_reported(file: Path) -> Iterator[None]:
    """Raise a SnapshotError if the file is missing or its content is not that of a snapshot."""
    if not file.is_file():
        # The folder of a training is a natural mistake.
        inside = sorted(path.parent for path in file.parent.glob(f"*/{MODEL}"))
        remedy = f"; give a snapshot in that folder, such as {inside[-1]}" if inside else ""
        raise SnapshotError(
            f"{file}: no such file; a snapshot folder contains {_WEIGHTS}, {MODEL} and {_VOCABULARY}{remedy}"
        )
    try:
        yield
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError, UsageError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else in_one_line(error)
        raise SnapshotError(f"{file}: damaged: {reason}; save the model again") from error
