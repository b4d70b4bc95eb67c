"""Load any type of model by its name or folder, and open objects of other libraries that hold one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from txray.activations.read import is_activations, read_activations
from txray.activations.stored import StoredActivations
from txray.errors import SnapshotError, UsageError
from txray.models.adapter import from_transformers, task_of
from txray.models.folders import CONFIG, HUB, is_model_folder
from txray.models.snapshot import MODEL, load_snapshot
from txray.models.text_model import TextModel
from txray.models.wrappers import is_transformer_lens, is_wrapper, wrapped_model

if TYPE_CHECKING:
    from txray.models.recurrent import RecurrentLanguageModel
    from txray.models.sentiment import SentimentClassifier


def load_model(
    name: Path | str,
    *,
    head: bool | Literal["saved"] = False,
    classes: Sequence[str] | None = None,
    base: Path | str | None = None,
) -> RecurrentLanguageModel | SentimentClassifier | TextModel:
    """Load a model on the CPU, in evaluation mode.

    >>> model = txray.models.language_model("gru", txray.demo_corpus("reviews", words=500), hidden=8)
    >>> txray.models.save_model(model, "snapshot")
    >>> load_model("snapshot").rnn
    GRU(300, 8, batch_first=True)

    Args:
        name: a snapshot folder of txray; a folder of Hugging Face with a model, an adapter of PEFT or a sentence
            transformer; or `hf:` and the name of one on the hub, such as `hf:gpt2`. `txray.models.hugging_face` has
            options for how such models read long documents.
        head, classes: see `txray.models.hugging_face`; ignored for txray's own models, which always have their head.
        base: the base model of an adapter, as a name like the first argument; by default the one that its
            configuration names.

    Raises:
        SnapshotError: there is no model, or it is damaged.
        UsageError: it is a Hugging Face model, and transformers is not installed; or `base` for a model that is no
            adapter.
    """
    from txray.models.huggingface import hugging_face

    if not isinstance(name, str | Path):
        raise UsageError(
            f"load_model: got a {type(name).__name__}; pass a name or folder, or the object itself to txray.collect"
        )
    if is_activations(name):
        raise SnapshotError(_not_a_model(name))
    _require_folder(name)
    if base is not None:
        _require_folder(base)
    folder = Path(name)
    if is_on_hub(name) or (is_model_folder(folder) and not (folder / MODEL).exists()):
        return hugging_face(name, head=head, classes=classes, base=base)
    if base is not None:
        raise UsageError(f"{name}: base={str(base)!r}, but a snapshot of txray is no adapter; omit base")
    return load_snapshot(folder)


def is_on_hub(name: Path | str) -> bool:
    """Return whether a name is that of a model on the hub."""
    return str(name).startswith(HUB)


def as_model(model: Any) -> Any:
    """Return what txray can read text with, for anything that is passed as a model.

    A name or folder is loaded, and an object of another library that holds a model and its tokenizer becomes a
    `TextModel` of that model. Everything else is returned unchanged.

    Raises:
        UsageError: the object holds no model that can be read with, or no tokenizer; or it is stored activations.
        SnapshotError: there is no model of that name.
    """
    if isinstance(model, str | Path):
        return load_model(model)
    if isinstance(model, StoredActivations):
        raise UsageError(_not_a_model(model.files.location))
    if not is_wrapper(model) and not is_transformer_lens(model):
        return model
    contents = wrapped_model(model)
    if contents.tokenizer is None and not is_transformer_lens(model):
        return contents.module
    task, classes = ("none", ()) if is_transformer_lens(model) else task_of(contents.module)
    return from_transformers(model, task=task, classes=classes)


def as_source(model: Any) -> Any:
    """Return what activations can be read from: stored activations, opened if they are named, or `as_model(model)`.

    Raises:
        TxrayError: as `as_model`, or `txray.read_activations`.
    """
    if isinstance(model, StoredActivations):
        return model
    if isinstance(model, str | Path) and is_activations(model):
        return read_activations(model)
    return as_model(model)


def _not_a_model(name: Path | str) -> str:
    return (
        f"{name}: holds stored activations, not a model that can run; only collection, the list of layers and the "
        "similarity of layers can read them"
    )


def _require_folder(name: Path | str) -> None:
    if not is_on_hub(name) and not Path(name).is_dir():
        raise SnapshotError(
            f"{name}: no such folder; pass a snapshot of txray, a folder of Hugging Face with {CONFIG}, or {HUB}{name} "
            "for a model on the hub"
        )
