"""Models and tokenizers of Hugging Face, from a local folder or by name, without running anybody's code."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from txray.errors import SnapshotError, TxrayError, UsageError, in_one_line
from txray.extras import require
from txray.identity import identity_of
from txray.models.text_model import Pieces, Pooling, Task, TextModel

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CONFIG = "config.json"
"""A file that every model folder of Hugging Face has."""

_LONGEST_WINDOW = 1_024
"""Positions read at once where the caller does not say: attention costs the square of it."""


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
    transformers = require("Hugging Face models need", "hf", "transformers")
    where: dict[str, Any] = {"revision": revision, "local_files_only": Path(name).is_dir()}
    with _quiet(transformers), _reading(name):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **where)
        task: Task = _task(config, name) if head is True else "none"
        loader = _LOADERS[task] if head != "saved" else _saved_class(transformers, config, name)
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
    # What the file lacks is drawn at random. Models that were trained without a pooler have none to give, and it has
    # no activation per position anyway.
    missing = sorted(key for key in loaded["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise SnapshotError(
            f"{name}: its weights lack {len(missing)} of {len(module.state_dict())}, such as {missing[0]}, which would "
            f"be random; give a complete model.safetensors that fits {CONFIG}"
        )
    _require_words(tokenizer, name)
    named = _classes(config, name, classes) if task == "classification" else ()
    return from_transformers(
        module.eval(), tokenizer, window=window, overlap=overlap, pooling=pooling, task=task, classes=named
    )


def from_transformers(
    module: Any,
    tokenizer: Any,
    *,
    window: int | None = None,
    overlap: int = 0,
    pooling: Pooling = "max",
    task: Task = "none",
    classes: Sequence[str] = (),
) -> TextModel:
    """A model of transformers that is in memory, such as one that is being trained, and its fast tokenizer.

    Args:
        module: a `PreTrainedModel`; it stays in the mode it is in.
        tokenizer: a fast one.
        window, overlap, pooling: see `hugging_face`.
        task, classes: see `TextModel`; collection needs neither.

    Raises:
        UsageError: the tokenizer is not a fast one, or a window that the model cannot read.
        SnapshotError: the tokenizer knows no words.
    """
    config = module.config
    name = config.name_or_path or type(module).__name__
    _require_words(tokenizer, name)
    tokenizer = _taking_words(tokenizer)
    prefix, suffix = _special_ids(tokenizer)
    limit = _limit(config, module, tokenizer)
    if window is not None and limit is not None and window > limit:
        raise UsageError(f"{name}: window={window}; the model reads at most {limit} positions")
    both_sides = bool(config.is_encoder_decoder)
    return TextModel(
        module=module,
        encode=_Encoder(tokenizer),
        forward=_both_sides if both_sides else _one_side,
        prefix=prefix,
        # The decoder reads everything one position later: the last piece needs one that follows it.
        suffix=suffix or ((_padding(tokenizer, module),) if both_sides else ()),
        padding=_padding(tokenizer, module),
        limit=window or min(limit or _LONGEST_WINDOW, _LONGEST_WINDOW),
        overlap=overlap,
        pooling=pooling,
        shifts={"decoder": 1, "decoder.**": 1} if both_sides else {},
        task=task,
        classes=tuple(classes),
    )


def _require_words(tokenizer: Any, name: str | Path) -> None:
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise SnapshotError(f"{name}: its tokenizer knows no words; give a folder with its tokenizer.json")
    if not tokenizer.is_fast:
        raise UsageError(
            f"{name}: {type(tokenizer).__name__} is no fast tokenizer, so its pieces cannot be traced to words; "
            "convert it to a tokenizer.json"
        )


_LOADERS: Mapping[Task, str] = {
    "none": "AutoModel",
    "classification": "AutoModelForSequenceClassification",
    "next-word": "AutoModelForCausalLM",
}
"""What a model is to do -> the class of transformers that loads it so."""


def _saved_class(transformers: Any, config: PreTrainedConfig, name: str | Path) -> str:
    """The class that the model was saved as, one of transformers' own."""
    architectures = list(getattr(config, "architectures", None) or [])
    for architecture in architectures:
        found = getattr(transformers, architecture, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return str(architecture)
    raise UsageError(
        f"{name}: was saved as {', '.join(architectures) or 'no class of its own'}, which transformers does not know; "
        "leave the head out"
    )


def _task(config: PreTrainedConfig, name: str | Path) -> Task:
    """What the model was trained to do."""
    architectures = list(getattr(config, "architectures", None) or [])
    for architecture in architectures:
        if architecture.endswith("ForSequenceClassification"):
            return "classification"
        if architecture.endswith(("ForCausalLM", "LMHeadModel")) and not config.is_encoder_decoder:
            return "next-word"
    raise UsageError(
        f"{name}: is saved as {', '.join(architectures) or 'a model without a head'}, which has no score; give a model "
        "that classifies sequences or predicts the next word, or a metric of your own to txray.prune"
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


class _Encoder:
    """Words to pieces by a fast tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._spaced = _wants_spaces(tokenizer)
        self._unknown = tokenizer.unk_token_id
        self._special = frozenset(tokenizer.all_special_ids) - {self._unknown}

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of the tokenizer as it is used here: not of how it was to truncate or pad."""
        rules = json.loads(self._tokenizer.backend_tokenizer.to_str())
        used = {key: value for key, value in rules.items() if key not in ("truncation", "padding")}
        return identity_of(type(self._tokenizer), used, self._spaced, self._unknown, self._special)

    def __call__(self, words: Sequence[str]) -> Pieces:
        # Words that look like special tokens are text: "[SEP]" in a review ends nothing.
        encoded = self._tokenizer(
            _spaced(words) if self._spaced else list(words),
            is_split_into_words=True,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids, owner, texts = encoded["input_ids"], encoded.word_ids(), encoded.tokens()
        if self._unknown in ids or not self._special.isdisjoint(ids):
            # A word of which the tokenizer knows no piece says nothing about itself. Some tokenizers have their
            # special tokens among the pieces of ordinary text; there they are left out.
            known = {
                word
                for piece, word in zip(ids, owner, strict=True)
                if piece != self._unknown and piece not in self._special
            }
            kept = [i for i, word in enumerate(owner) if word in known and ids[i] not in self._special]
            ids, owner, texts = ([each[i] for i in kept] for each in (ids, owner, texts))
        return Pieces(ids, owner, texts)


def _one_side(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    return module(input_ids=ids, attention_mask=mask.long(), **_without_cache(module))


def _both_sides(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    config: Any = module.config
    start = config.decoder_start_token_id
    first = torch.full_like(ids[:, :1], config.bos_token_id or 0 if start is None else start)
    return module(
        input_ids=ids,
        attention_mask=mask.long(),
        decoder_input_ids=torch.cat((first, ids[:, :-1]), dim=1),
        decoder_attention_mask=mask.long(),
        **_without_cache(module),
    )


def _without_cache(module: nn.Module) -> dict[str, bool]:
    """Keys and values of earlier positions are of no use here; not every model knows the word."""
    return {"use_cache": False} if "use_cache" in inspect.signature(module.forward).parameters else {}


def _taking_words(tokenizer: Any) -> Any:
    """The tokenizer, such that it can be given the words of a text one by one."""
    try:
        tokenizer(["word"], is_split_into_words=True)
    except (AssertionError, ValueError):
        # Byte-level tokenizers take words only where each begins with a space, which is chosen when they are loaded.
        with TemporaryDirectory(prefix="txray-tokenizer-") as folder:
            tokenizer.save_pretrained(folder)
            return type(tokenizer).from_pretrained(folder, add_prefix_space=True, trust_remote_code=False)
    return tokenizer


def _wants_spaces(tokenizer: Any) -> bool:
    """Whether words must carry the space before them to be cut into the pieces that they have in a text.

    Byte-level tokenizers take the space for a part of the word, and some of them glue words together without it.
    """
    words = ["I", "wanted", "to", "like", "this"]
    plain: dict[str, Any] = {"add_special_tokens": False}
    in_text = tokenizer(" ".join(words), **plain)["input_ids"]
    as_words, spaced = (
        tokenizer(given, is_split_into_words=True, **plain)["input_ids"] for given in (words, _spaced(words))
    )
    return bool(as_words != in_text and spaced == in_text)


def _spaced(words: Sequence[str]) -> list[str]:
    return [*words[:1], *(f" {word}" for word in words[1:])]


def _special_ids(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that the tokenizer puts before and after a text."""
    encoded = tokenizer(["a"], is_split_into_words=True, return_special_tokens_mask=True)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    text = [i for i, flag in enumerate(special) if not flag]
    return tuple(ids[: text[0]]), tuple(ids[text[-1] + 1 :])


def _padding(tokenizer: Any, module: Any) -> int:
    """The id of padding, if the model has a row for it: any will do, because padding is masked."""
    padding = tokenizer.pad_token_id
    return (
        int(padding)
        if padding is not None and 0 <= padding < module.get_input_embeddings().num_embeddings
        else 0
    )


def _limit(config: PreTrainedConfig, module: nn.Module, tokenizer: Any) -> int | None:
    """Positions that the model can read at once; None where nothing limits them."""
    declared = tokenizer.model_max_length
    limits = [declared] if isinstance(declared, int | float) and 1 <= declared < float("inf") else []
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if isinstance(positions, int) and positions > 0:
        table = getattr(getattr(module, "embeddings", None), "position_embeddings", None)
        # Models of the RoBERTa kind count positions from behind the one of padding.
        padding = table.padding_idx if isinstance(table, nn.Embedding) else None
        limits.append(positions if padding is None else positions - padding - 1)
    least = int(min(limits, default=10**9))
    return least if least < 10**9 else None


@contextmanager
def _reading(name: str | Path) -> Iterator[None]:
    try:
        yield
    except TxrayError:
        raise
    except Exception as error:  # a damaged folder fails in every way that there is
        text = in_one_line(error, 300)
        raise SnapshotError(
            f"{name}: no Hugging Face model can be read there: {text or type(error).__name__}; give a folder with "
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
