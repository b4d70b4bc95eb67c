"""Models on disk: a folder of safetensors and JSON, which cannot run code.

model.safetensors   the weights; those that are shared are kept once
model.json          what the model is, its sizes, checksums, and facts about where it comes from
vocabulary.json     its words
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from txray.errors import SnapshotError, UsageError, in_one_line
from txray.files import atomic_folder, sha256_of
from txray.models.recurrent import RecurrentConfig, RecurrentLanguageModel, RecurrentModel, seeded_weights
from txray.models.sentiment import SentimentClassifier
from txray.models.vocabulary import Vocabulary

FORMAT = 1
_KINDS = {RecurrentLanguageModel: "language-model", SentimentClassifier: "sentiment-classifier"}
_WEIGHTS, MODEL, _VOCABULARY = "model.safetensors", "model.json", "vocabulary.json"


def save_model(model: RecurrentModel, folder: Path | str, **facts: object) -> None:
    """Write a snapshot: complete, or not at all; a snapshot that was there is replaced.

    Args:
        model: a language model or a sentiment classifier.
        folder: to hold the three files.
        facts: JSON values about where the model comes from, e.g. `epoch=3`.

    Raises:
        UsageError: another kind of model, or one whose weights are not those of its kind, such as one with
            parametrizations; nothing is written.
        OutputError: the place cannot be written.
    """
    kind = _KINDS.get(type(model))
    if kind is None:
        raise UsageError(
            f"save_model: a {type(model).__name__} cannot be saved; give one of {', '.join(_KINDS.values())}"
        )
    _require_own_weights(model, kind)
    with atomic_folder(Path(folder), markers=(MODEL,)) as new:
        save_file(weights_of(model), new / _WEIGHTS)
        (new / _WEIGHTS).chmod(0o644)  # safetensors lets nobody else read
        vocabulary = model.vocabulary
        _write_json(
            new / _VOCABULARY,
            {"format": FORMAT, "lowercase": vocabulary.lowercase, "words": vocabulary.words},
        )
        description = {
            "format": FORMAT,
            "kind": kind,
            "config": model.config.as_json(),
            "pooling": model.pooling if isinstance(model, SentimentClassifier) else None,
            "vocabulary_sha256": vocabulary.fingerprint,
            "weights_sha256": sha256_of(new / _WEIGHTS),
            "facts": facts,
        }
        _write_json(new / MODEL, description)


def _require_own_weights(model: RecurrentModel, kind: str) -> None:
    """Refuse a model whose weights a new one of its kind would not have."""
    absent = next((name for name, weight in model.state_dict().items() if weight.is_meta), None)
    if absent is not None:
        raise UsageError(
            f"save_model: weight {absent} is on the device 'meta', without numbers; load the model's weights"
        )
    pooling = model.pooling if isinstance(model, SentimentClassifier) else None
    with torch.device("meta"):
        plain = _new_model(kind, model.vocabulary, model.config, pooling)
    own, expected = _sizes(model), _sizes(plain)
    if own == expected:
        return
    other = sorted(name for name in own.keys() | expected.keys() if own.get(name) != expected.get(name))
    if any(map(is_parametrized, model.modules())):
        remedy = "call torch.nn.utils.parametrize.remove_parametrizations first, or save a copy made so"
    elif any(name.endswith("_orig") for name in other):
        remedy = "call torch.nn.utils.prune.remove first, which keeps the zeros"
    elif any(name.endswith(("_g", "_v")) for name in other):
        remedy = "call torch.nn.utils.remove_weight_norm first"
    else:
        remedy = "give a model as txray makes it"
    raise UsageError(
        f"save_model: weights {', '.join(other[:4])}{', ...' if len(other) > 4 else ''} are not those of a {kind}, so "
        f"the snapshot could not be loaded; {remedy}"
    )


def _sizes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tuple(values.shape) for name, values in tensors}


def load_snapshot(folder: Path | str) -> RecurrentLanguageModel | SentimentClassifier:
    """Read a snapshot.

    Args:
        folder: written by `save_model`.

    Returns:
        The model, on the CPU, ready to be applied (`eval()`).

    Raises:
        SnapshotError: a file is missing or damaged, the words or sizes do not match the weights, or
            another version of the format.
    """
    folder = Path(folder)
    description = _read_json(folder, MODEL)
    vocabulary = _read_vocabulary(folder)
    if description.get("vocabulary_sha256") != vocabulary.fingerprint:
        raise SnapshotError(
            f"{folder / _VOCABULARY}: these {len(vocabulary)} words are not those that the weights know; "
            "copy the snapshot folder as a whole"
        )
    model = _build(folder / MODEL, description, vocabulary)
    _load_weights(model, folder / _WEIGHTS, description)
    return model.eval()


def snapshot_metadata(folder: Path | str) -> Mapping[str, Any]:
    """What `save_model` was told about a snapshot.

    Raises:
        SnapshotError: the snapshot is missing or damaged.
    """
    facts: dict[str, Any] = _read_json(Path(folder), MODEL).get("facts", {})
    return facts


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Name -> weights on the CPU; those that several names share, under the first name only."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters(remove_duplicate=True)
    }


def _build(
    file: Path, description: Mapping[str, Any], vocabulary: Vocabulary
) -> RecurrentLanguageModel | SentimentClassifier:
    try:
        kind = description["kind"]
        if kind not in _KINDS.values():
            known = ", ".join(_KINDS.values())
            raise SnapshotError(f"{file}: unknown kind of model {kind!r}; there are: {known}")
        config = RecurrentConfig(**description["config"])
        with seeded_weights(0):
            return _new_model(kind, vocabulary, config, description["pooling"])
    except KeyError as error:
        raise SnapshotError(f"{file}: damaged: lacks {error}; save the model again") from error
    except (TypeError, UsageError) as error:
        raise SnapshotError(f"{file}: damaged: {error}; save the model again") from error


def _new_model(
    kind: str, vocabulary: Vocabulary, config: RecurrentConfig, pooling: Any
) -> RecurrentLanguageModel | SentimentClassifier:
    if kind == _KINDS[SentimentClassifier]:
        return SentimentClassifier(vocabulary, config, pooling)
    return RecurrentLanguageModel(vocabulary, config)


def _load_weights(model: nn.Module, file: Path, description: Mapping[str, Any]) -> None:
    if not file.is_file():
        raise _missing(file)
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise SnapshotError(f"{file}: damaged: {in_one_line(error)}; save the model again") from error
    wanted = dict(model.named_parameters(remove_duplicate=True))
    if found.keys() != wanted.keys():
        names = ", ".join(sorted(found.keys() ^ wanted.keys()))
        raise SnapshotError(f"{file}: {MODEL} asks for other weights: {names}; save the model again")
    for name, parameter in wanted.items():
        if found[name].shape != parameter.shape:
            raise SnapshotError(
                f"{file}: {name} has size {tuple(found[name].shape)}, {MODEL} and {_VOCABULARY} ask for "
                f"{tuple(parameter.shape)}; copy the snapshot folder as a whole"
            )
    if description.get("weights_sha256") != sha256_of(file):
        raise SnapshotError(f"{file}: damaged: its checksum is not the one in {MODEL}; save the model again")
    for name, parameter in wanted.items():
        parameter.data = found[name]  # in the number type that was saved


def _read_vocabulary(folder: Path) -> Vocabulary:
    file = folder / _VOCABULARY
    content = _read_json(folder, _VOCABULARY)
    try:
        words, lowercase = content["words"], content["lowercase"]
        if not isinstance(lowercase, bool) or not all(isinstance(word, str) for word in words):
            raise TypeError("words must be text, lowercase true or false")
        return Vocabulary(tuple(words), lowercase)
    except KeyError as error:
        raise SnapshotError(f"{file}: damaged: lacks {error}; save the model again") from error
    except (TypeError, UsageError) as error:
        raise SnapshotError(f"{file}: damaged: {error}; save the model again") from error


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    if not file.is_file():
        raise _missing(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise SnapshotError(f"{file}: damaged: {in_one_line(error)}; save the model again") from error
    if not isinstance(content, dict):
        raise SnapshotError(f"{file}: damaged: holds no JSON object; save the model again")
    if content.get("format") != FORMAT:
        raise SnapshotError(
            f"{file}: format {content.get('format')!r}; this version of txray reads format {FORMAT}; "
            "use the version that wrote it"
        )
    return content


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _missing(file: Path) -> SnapshotError:
    return SnapshotError(
        f"{file}: no such file; a snapshot folder holds {_WEIGHTS}, {MODEL} and {_VOCABULARY}"
    )
