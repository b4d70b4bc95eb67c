"""Load models and tokenizers of Hugging Face from a folder or the hub, without running code that comes with them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from txray._optional import import_extra
from txray.errors import SnapshotError, TxrayError, UsageError, in_one_line
from txray.models.adapter import from_transformers
from txray.models.pieces import require_pieces
from txray.models.text_model import Pooling, Task, TextModel

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CONFIG = "config.json"
"""A file in every model folder of Hugging Face."""


def hugging_face(
    name: str | Path,
    *,
    window: int | None = None,
    overlap: int = 0,
    pooling: Pooling = "max",
    revision: str | None = None,
    head: bool | Literal["saved"] = False,
    classes: Sequence[str] | None = None,
) -> TextModel:
    """Load a Hugging Face model and its tokenizer for `txray.collect`, with or without its head.

    Encoders, decoders and encoder-decoders are supported; the latter read the document on both sides, the decoder after
    its start symbol as in training. Weights are read from safetensors only, in their saved precision, and code that
    comes with a model is never run.

    Args:
        name: a local folder, or the name of a model on the hub.
        window: maximum length of an input; by default what the model can read, at most 1,024. Longer documents are cut
            between words.
        overlap: number of pieces that consecutive inputs of a document share, so that words at a cut have context.
        pooling: how the pieces of a word are combined: `max`, `mean`, `first` or `last`.
        revision: revision of a model on the hub.
        head: True keeps the head that classifies or predicts the next word, for `txray.prune`; names of layers stay the
            same. `saved` loads the whole model as it was saved, whatever its task, with the names of layers that it had
            in training; it cannot be scored.
        classes: names of the classes in the labels of documents, in the order of the outputs, for a head that
            classifies; those of the configuration by default.

    Raises:
        UsageError: transformers is not installed, the tokenizer cannot be used, or there is no head that can be scored.
        SnapshotError: there is no such model, or it cannot be read.
    """
    transformers = import_extra("Hugging Face models need", "hf", "transformers")
    source: dict[str, Any] = {"revision": revision, "local_files_only": Path(name).is_dir()}
    with _quiet(transformers), _reading(name):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **source)
        task: Task = _task(config, name) if head is True else "none"
        loader = _loader(transformers, config, name, task, saved=head == "saved")
        module, loaded = getattr(transformers, loader).from_pretrained(
            name,
            config=config,
            dtype="auto",
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
            **source,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False, **source)
    # A pooler does not matter, because it has no activations per position; tables that the model computes, such as
    # sines of positions, are not random.
    missing = sorted(
        key
        for key in loaded["missing_keys"]
        if not key.startswith("pooler.") and not _is_computed(module, key)
    )
    if missing:
        whole = "" if head == "saved" else f", or load the whole {_saved_as(config)} with head='saved'"
        raise SnapshotError(
            f"{name}: lacks {len(missing)} of {len(module.state_dict())} weights, such as {missing[0]}, which would be "
            f"random; use a complete model.safetensors that matches {CONFIG}{whole}"
        )
    require_pieces(tokenizer, name)
    names = _classes(config, name, classes) if task == "classification" else ()
    return from_transformers(
        module.eval(), tokenizer, window=window, overlap=overlap, pooling=pooling, task=task, classes=names
    )


_LOADERS: Mapping[Task, str] = {
    "none": "AutoModel",
    "classification": "AutoModelForSequenceClassification",
    "next-word": "AutoModelForCausalLM",
}
"""Task -> class of transformers that loads a model for it."""


def _loader(transformers: Any, config: PreTrainedConfig, name: str | Path, task: Task, *, saved: bool) -> str:
    """Return the name of the class of transformers that loads a model."""
    known = [
        architecture
        for architecture in config.architectures or []
        if isinstance(model_class := getattr(transformers, architecture, None), type)
        and issubclass(model_class, transformers.PreTrainedModel)
    ]
    if saved and not known:
        raise UsageError(
            f"{name}: was saved as {_saved_as(config)}, which transformers does not know; omit head"
        )
    # A single encoder is not an encoder-decoder, and a model unknown to `AutoModel` has no head to drop.
    alone = task == "none" and known and known[0].endswith(("EncoderModel", "Encoder", "TextModel"))
    unmapped = task == "none" and known and type(config) not in transformers.MODEL_MAPPING
    return str(known[0]) if saved or alone or unmapped else _LOADERS[task]


def _saved_as(config: PreTrainedConfig) -> str:
    return ", ".join(config.architectures or []) or "an unnamed class"


def _is_computed(module: Any, key: str) -> bool:
    """Return whether a weight is computed: equal under any seed, and not constant."""
    owner, _, name = key.rpartition(".")
    try:
        weight, fresh = getattr(module.get_submodule(owner), name), copy.deepcopy(module.get_submodule(owner))
    except AttributeError:
        return False
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        # Random values first, so that a weight that initialization does not set does not look computed.
        getattr(fresh, name).copy_(torch.rand_like(weight))
        for part in fresh.modules():
            part._is_hf_initialized = False
        for parameter in fresh.parameters():
            parameter._is_hf_initialized = False
        module._init_weights(fresh)
    constant = bool((weight == weight.reshape(-1)[:1]).all())
    return not constant and torch.equal(getattr(fresh, name), weight)


def _task(config: PreTrainedConfig, name: str | Path) -> Task:
    """Return the task that the model was trained for."""
    for architecture in config.architectures or []:
        if architecture.endswith("ForSequenceClassification"):
            return "classification"
        if architecture.endswith(("ForCausalLM", "LMHeadModel")) and not config.is_encoder_decoder:
            return "next-word"
    raise UsageError(
        f"{name}: was saved as {_saved_as(config)}, which has no "
        "score; use a model that classifies sequences or predicts the next word, or pass your own metric to txray.prune"
    )


def _classes(config: PreTrainedConfig, name: str | Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the classes, in the order of the outputs."""
    known: dict[Any, str] = dict(config.id2label or {})
    count = len(known)
    names = tuple(classes) if classes is not None else tuple(str(known[i]) for i in sorted(known))
    if len(names) != count or count < 2:
        raise UsageError(
            f"{name}: has {count} classes, but {len(names)} names were given ({', '.join(names)[:80]}); pass one name "
            "per class (at least 2), in the order of the outputs"
        )
    return names


@contextmanager
def _reading(name: str | Path) -> Iterator[None]:
    try:
        yield
    except TxrayError:
        raise
    except Exception as error:  # a damaged folder can cause any error
        raise SnapshotError(
            f"{name}: cannot be read as a Hugging Face model: {in_one_line(error, limit=300)}; pass a folder with "
            f"{CONFIG}, model.safetensors and tokenizer.json, or a name on the hub"
        ) from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Disable progress bars and hints of transformers; problems are raised as exceptions."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
