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
from txray.models.base_model import base_model_of, base_prefix, unwrapped
from txray.models.folders import CONFIG, HUB, Contents, contents_of
from txray.models.language_head import HeadSource
from txray.models.peft_adapter import AdapterWeights
from txray.models.pieces import require_pieces
from txray.models.text_model import Pooling, Task, TextModel
from txray.models.wrappers import lowercasing

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def hugging_face(
    name: str | Path,
    *,
    window: int | None = None,
    overlap: int = 0,
    pooling: Pooling = "max",
    revision: str | None = None,
    head: bool | Literal["saved"] = False,
    classes: Sequence[str] | None = None,
    base: str | Path | None = None,
    merge: bool = False,
) -> TextModel:
    """Load a Hugging Face model and its tokenizer for `txray.collect`, with or without its head.

    Encoders, decoders and encoder-decoders are supported; the latter read the document on both sides, the decoder after
    its start symbol as in training. Weights are read from safetensors only, in their saved precision, and code that
    comes with a model is never run.

    The folder of a PEFT adapter is loaded on its base model, with the layer names of the base, so that the two can be
    compared. The folder of a sentence transformer is loaded as its transformer, with its maximum length.

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
        base: the base model of an adapter, a folder or a name on the hub; that of its configuration by default, which
            is not downloaded for an adapter in a local folder unless `base` is its name on the hub.
        merge: whether to add the weights of an adapter to those of the base. By default it is not merged: the model
            then computes exactly as in training, whereas the sums of weights are rounded, and layers of the adapter,
            such as `query.lora_A.default`, can be collected, too. A merged model has the classes of the base.

    Raises:
        UsageError: transformers or peft is not installed, the tokenizer cannot be used, there is no head that can be
            scored, or `base` or `merge` for a model that is no adapter.
        SnapshotError: there is no such model, it cannot be read, or an adapter does not fit its base.
    """
    transformers = import_extra("Hugging Face models need", "hf", "transformers")
    with without_progress_bars(), _reading(name):
        contents = contents_of(str(name).removeprefix(HUB), revision, base)
        if merge and contents.adapter is None:
            raise UsageError(f"{name}: merge=True, but it is no adapter; omit merge")
        module, tokenizer, task, config = _loaded(transformers, contents, name, head, merge=merge)
    require_pieces(tokenizer, name)
    if contents.lowercase:
        tokenizer = lowercasing(tokenizer)
    if contents.max_length is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, contents.max_length)
    names = _classes(config, name, classes) if task == "classification" else ()
    return from_transformers(
        module.eval(),
        tokenizer,
        window=window,
        overlap=overlap,
        pooling=pooling,
        task=task,
        classes=names,
        # Read when it is needed; that of an adapter is loaded with it only.
        language_model=HeadSource(contents.weights) if head is False and contents.adapter is None else None,
    )


def _loaded(
    transformers: Any, contents: Contents, name: str | Path, head: bool | Literal["saved"], *, merge: bool
) -> tuple[Any, Any, Task, PreTrainedConfig]:
    """Return the model, its tokenizer, its task and its configuration."""
    source = contents.weights
    config = transformers.AutoConfig.from_pretrained(source.name, trust_remote_code=False, **source.options)
    adapter = None if contents.adapter is None else AdapterWeights(contents)
    trained = "" if adapter is None else _class_of_adapter(transformers, adapter, config)
    task: Task = "none"
    if head is True:
        task = _TASKS.get(trained) or _task(config, name)
    loader = trained or _loader(transformers, config, name, task, saved=head == "saved")
    if adapter is not None and adapter.n_classes not in (None, config.num_labels):
        config.num_labels = adapter.n_classes
    module, loaded = getattr(transformers, loader).from_pretrained(
        source.name,
        config=config,
        dtype="auto",
        use_safetensors=True,
        output_loading_info=True,
        trust_remote_code=False,
        **source.options,
    )
    absent = {key for key in loaded["missing_keys"] if not _is_computed(module, key)}
    n_weights = len(module.state_dict())
    if adapter is not None:
        absent -= adapter.names
        prefix = base_prefix(module)
        module = adapter.apply(module, merge=merge)
        if head is False:
            module = base_model_of(unwrapped(module))
            absent = {key.removeprefix(prefix) for key in absent if key.startswith(prefix)}
    # A pooler does not matter, because it has no activations per position; tables that the model computes, such as
    # sines of positions, are not random.
    missing = sorted(key for key in absent if not key.startswith("pooler."))
    if missing:
        whole = "" if head == "saved" else f", or load the whole {_saved_as(config)} with head='saved'"
        raise SnapshotError(
            f"{name}: lacks {len(missing)} of {n_weights} weights, such as {missing[0]}, which would be "
            f"random; use a complete model.safetensors that matches {CONFIG}{whole}"
        )
    texts = (
        contents.adapter if contents.adapter and contents.adapter.file("tokenizer_config.json") else source
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        texts.name, trust_remote_code=False, **texts.options
    )
    return module, tokenizer, task, config


def _class_of_adapter(transformers: Any, adapter: AdapterWeights, config: PreTrainedConfig) -> str:
    """Return the name of the class of transformers that an adapter was trained on."""
    base = transformers.MODEL_MAPPING.get(type(config), None)
    trained = adapter.trained_class(transformers, getattr(base, "base_model_prefix", ""))
    return trained or next(iter(config.architectures or []), "AutoModelForCausalLM")


_TASKS: Mapping[str, Task] = {
    "AutoModelForSequenceClassification": "classification",
    "AutoModelForCausalLM": "next-word",
}
"""Class that an adapter was trained on -> task."""

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
def without_progress_bars() -> Iterator[None]:
    """Disable progress bars and hints of transformers; problems are raised as exceptions."""
    logging = import_extra("Hugging Face models need", "hf", "transformers").utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
