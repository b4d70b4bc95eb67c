"""Models and tokenizers of Hugging Face, from a local folder or by name, without running anybody's code."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from txray._optional import import_extra
from txray.errors import SnapshotError, TxrayError, UsageError, in_one_line
from txray.models.adapter import from_transformers
from txray.models.pieces import require_fast
from txray.models.text_model import Pooling, Task, TextModel

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CONFIG = "config.json"
"""A file that every model folder of Hugging Face has."""


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
    """A Hugging Face model and its fast tokenizer, ready for `txray.collect`: without its head, or with it.

    Encoders, decoders, and encoder-decoders: those read the document on both sides, the decoder behind its start
    symbol as in training. Weights are read from safetensors only, in the precision in which they were saved, and
    code that comes with a model is never run.

    Args:
        name: a local folder, or the name of a model on the hub.
        window: positions read at once; by default what the model can read, at most 1,024. Longer documents are
            cut between words.
        overlap: pieces that two neighbouring windows of a document share, so that words at a cut have context.
        pooling: which activation a word of several pieces has: `max`, `mean`, `first` or `last`.
        revision: of a model on the hub.
        head: whether the model is to classify, or to predict the next word, as its configuration says it was trained
            to: for `txray.prune`. Its layers can be named as without. `saved`: the whole model, whatever it was
            trained to do, with the names of layers that it had in training; it is not to be scored.
        classes: with a head that classifies, what the classes are called in the labels of documents, in their order;
            their names in the configuration by default.

    Raises:
        UsageError: transformers is not installed, there is no fast tokenizer, or no head that can be scored.
        SnapshotError: there is no such model, or it cannot be read.
    """
    transformers = import_extra("Hugging Face models need", "hf", "transformers")
    where: dict[str, Any] = {"revision": revision, "local_files_only": Path(name).is_dir()}
    with _quiet(transformers), _reading(name):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **where)
        task: Task = _task(config, name) if head is True else "none"
        loader = _loader(transformers, config, name, task, saved=head == "saved")
        module, loaded = getattr(transformers, loader).from_pretrained(
            name,
            config=config,
            dtype="auto",
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
            **where,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    missing = _drawn(module, loaded["missing_keys"])
    if missing:
        whole = "" if head == "saved" else f", or load the whole {_saved_as(config)} with head='saved'"
        raise SnapshotError(
            f"{name}: its weights lack {len(missing)} of {len(module.state_dict())}, such as {missing[0]}, which would "
            f"be random; give a complete model.safetensors that fits {CONFIG}{whole}"
        )
    require_fast(tokenizer, name)
    named = _classes(config, name, classes) if task == "classification" else ()
    return from_transformers(
        module.eval(), tokenizer, window=window, overlap=overlap, pooling=pooling, task=task, classes=named
    )


_LOADERS: Mapping[Task, str] = {
    "none": "AutoModel",
    "classification": "AutoModelForSequenceClassification",
    "next-word": "AutoModelForCausalLM",
}
"""What a model is to do -> the class of transformers that loads it so."""


def _loader(transformers: Any, config: PreTrainedConfig, name: str | Path, task: Task, *, saved: bool) -> str:
    """Return the class of transformers that loads a model."""
    known = [
        architecture
        for architecture in config.architectures or []
        if isinstance(of_name := getattr(transformers, architecture, None), type)
        and issubclass(of_name, transformers.PreTrainedModel)
    ]
    if saved and not known:
        raise UsageError(
            f"{name}: was saved as {_saved_as(config)}, which transformers does not know; leave the head out"
        )
    # An encoder alone is no encoder-decoder, and what `AutoModel` does not know has no head to be left out.
    alone = task == "none" and known and known[0].endswith(("EncoderModel", "Encoder", "TextModel"))
    unmapped = task == "none" and known and type(config) not in transformers.MODEL_MAPPING
    return str(known[0]) if saved or alone or unmapped else _LOADERS[task]


def _saved_as(config: PreTrainedConfig) -> str:
    return ", ".join(config.architectures or []) or "no class of its own"


def _drawn(module: Any, missing: Iterable[str]) -> list[str]:
    """Return which of the weights that a file lacks are random, and matter.

    Models that were trained without a pooler have none to give, and it has no activation per position anyway. Tables
    that the model computes, such as sines of positions, are the same whatever the seed.
    """
    return sorted(key for key in missing if not key.startswith("pooler.") and not _is_computed(module, key))


def _is_computed(module: Any, key: str) -> bool:
    """Return whether a weight is computed: the same numbers under any seed, and not all equal."""
    owner, _, name = key.rpartition(".")
    try:
        weight, drawn = getattr(module.get_submodule(owner), name), copy.deepcopy(module.get_submodule(owner))
    except AttributeError:
        return False
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        # Other numbers first, so that a weight that initialization does not set does not look computed.
        getattr(drawn, name).copy_(torch.rand_like(weight))
        for part in drawn.modules():
            part._is_hf_initialized = False
        for parameter in drawn.parameters():
            parameter._is_hf_initialized = False
        module._init_weights(drawn)
    constant = bool((weight == weight.reshape(-1)[:1]).all())
    return not constant and torch.equal(getattr(drawn, name), weight)


def _task(config: PreTrainedConfig, name: str | Path) -> Task:
    """What the model was trained to do."""
    for architecture in config.architectures or []:
        if architecture.endswith("ForSequenceClassification"):
            return "classification"
        if architecture.endswith(("ForCausalLM", "LMHeadModel")) and not config.is_encoder_decoder:
            return "next-word"
    raise UsageError(
        f"{name}: is saved as {', '.join(config.architectures or []) or 'a model without a head'}, which has no score; "
        "give a model that classifies sequences or predicts the next word, or a metric of your own to txray.prune"
    )


def _classes(config: PreTrainedConfig, name: str | Path, given: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the classes, in their order."""
    known: dict[Any, str] = dict(config.id2label or {})
    count = len(known)
    names = tuple(given) if given is not None else tuple(str(known[i]) for i in sorted(known))
    if len(names) != count or count < 2:
        raise UsageError(
            f"{name}: has {count} classes, named are {len(names)} ({', '.join(names)[:80]}); name each, at least 2, in "
            "the order of its outputs"
        )
    return names


@contextmanager
def _reading(name: str | Path) -> Iterator[None]:
    try:
        yield
    except TxrayError:
        raise
    except Exception as error:  # a damaged folder fails in every way that there is
        raise SnapshotError(
            f"{name}: no Hugging Face model can be read there: {in_one_line(error, 300)}; give a folder with "
            f"{CONFIG}, model.safetensors and tokenizer.json, or a name on the hub"
        ) from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without progress bars and hints; what is wrong comes as an exception."""
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
