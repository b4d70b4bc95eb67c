"""Wrap a model of transformers in a `TextModel`: its call, maximum length, padding and lags."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from txray.errors import UsageError
from txray.models.base_model import (
    base_model_of,
    base_prefix,
    in_evaluation_mode,
    input_device,
    pretrained_in,
)
from txray.models.piece_names import PieceNames
from txray.models.pieces import PieceEncoder, require_pieces, special_ids
from txray.models.text_model import Pooling, Task, TextModel
from txray.models.transformer_lens import from_transformer_lens
from txray.models.wrappers import is_transformer_lens, wrapped_model

_LONGEST_WINDOW = 1_024
"""Default maximum length of an input: the cost of attention is quadratic in it."""

_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_encoder_position_embeddings",
    "max_decoder_position_embeddings",
)
"""Names of the maximum number of positions in configurations."""


def from_transformers(
    module: Any,
    tokenizer: Any = None,
    *,
    window: int | None = None,
    overlap: int = 0,
    pooling: Pooling = "max",
    task: Task = "none",
    classes: Sequence[str] = (),
    language_model: Callable[[nn.Module], nn.Module] | None = None,
) -> TextModel:
    """Return a `TextModel` of a transformer in memory, such as one that is being trained.

    Maximum length, padding and lags are those of the base model, inside any head, adapter or wrapper. `DataParallel`,
    `torch.compile`, models of PEFT and similar wrappers are removed, so layers have their original names.

    Args:
        module: a `PreTrainedModel`, a module that wraps one, or an object that holds one: a pipeline of transformers, a
            `SentenceTransformer`, or a model of PEFT, nnsight or TransformerLens. Its mode (training or evaluation) is
            not changed.
        tokenizer: its tokenizer, fast if possible (see the page on models for others); that of the object by default.
        window, overlap, pooling: see `hugging_face`.
        task, classes: see `TextModel`; not needed for collection.
        language_model: see `TextModel`; by default the module itself if it is a causal language model.

    Raises:
        UsageError: there is no model of transformers, no tokenizer that can be used, or `window` is more than the model
            can read.
        SnapshotError: the tokenizer knows no words.
    """
    contents = wrapped_model(module)
    kind, module = type(module).__name__, contents.module
    tokenizer = contents.tokenizer if tokenizer is None else tokenizer
    if is_transformer_lens(module):
        return from_transformer_lens(module, tokenizer, window=window, overlap=overlap, pooling=pooling)
    pretrained = pretrained_in(module)
    if not hasattr(pretrained, "config"):
        raise UsageError(
            f"from_transformers: a {kind} contains no model of transformers; wrap it in a txray.TextModel"
        )
    name = pretrained.config.name_or_path or type(pretrained).__name__
    if tokenizer is None:
        raise UsageError(
            f"from_transformers: a {kind} has no tokenizer; pass it: from_transformers(model, tokenizer)"
        )
    require_pieces(tokenizer, name)
    prefix, suffix = special_ids(tokenizer)
    max_length = _max_length(module, tokenizer, contents.max_length)
    if window is not None and max_length is not None and window > max_length:
        raise UsageError(
            f"{name}: window={window}; the model reads at most {max_length} positions; choose a smaller one"
        )
    padding = _padding(tokenizer, pretrained, (*prefix, *suffix))
    if language_model is None and task_of(module)[0] == "next-word":
        language_model = itself
    call, encode = _Call(module, padding), PieceEncoder(tokenizer)
    return TextModel(
        module=module,
        encode=encode,
        encodes="document",
        forward=call,
        prefix=prefix,
        # The decoder lags by one position, so the last piece needs a position after it.
        suffix=suffix or ((padding,) if call.reads_both_sides else ()),
        padding=padding,
        max_length=window or min(max_length or _LONGEST_WINDOW, _LONGEST_WINDOW),
        overlap=overlap,
        pooling=pooling,
        lags=_lags(module, [*prefix, *encode.known_ids()[:3], *suffix]) if call.reads_both_sides else {},
        task=task,
        classes=tuple(classes),
        output_name=PieceNames(tokenizer),
        language_model=language_model,
    )


def itself(module: nn.Module) -> nn.Module:
    """Return a module unchanged: it is a language model already."""
    return module


def task_of(module: nn.Module) -> tuple[Task, tuple[str, ...]]:
    """Return what the forward pass of a transformer returns, and the names of its classes; see `TextModel`."""
    pretrained = pretrained_in(module)
    name, config = type(pretrained).__name__, getattr(pretrained, "config", None)
    if config is None:
        return "none", ()
    if name.endswith("ForSequenceClassification") and len(config.id2label) > 1:
        return "classification", tuple(str(config.id2label[i]) for i in sorted(config.id2label))
    if name.endswith(("ForCausalLM", "LMHeadModel")) and not config.is_encoder_decoder:
        return "next-word", ()
    return "none", ()


class _Call:
    """Calls a model of transformers with ids and a mask.

    Attributes:
        reads_both_sides: whether a decoder reads the document after its start symbol.
    """

    def __init__(self, module: nn.Module, padding: int) -> None:
        pretrained = pretrained_in(module)
        parameters = inspect.signature(pretrained.forward).parameters
        everything = any(option.kind is option.VAR_KEYWORD for option in parameters.values())
        self.reads_both_sides = (
            bool(getattr(pretrained.config, "is_encoder_decoder", False))
            and "decoder_input_ids" in parameters
        )
        # Perceiver has one name for text and images.
        self._ids = next((name for name in ("input_ids", "inputs") if name in parameters), "input_ids")
        self._takes_mask = everything or "attention_mask" in parameters
        # Cached keys and values are not needed; not every model has the option.
        self._options = {"use_cache": False} if "use_cache" in parameters else {}
        self._padding = padding

    def __call__(self, module: nn.Module, ids: Tensor, mask: Tensor) -> object:
        """Run `module` on (documents, time) ids; the mask is True where a position is in use."""
        config = pretrained_in(module).config
        arguments: dict[str, Any] = {self._ids: ids, **self._options}
        if self._takes_mask:
            arguments["attention_mask"] = mask.long()
        if self.reads_both_sides:
            first = torch.full_like(ids[:, :1], _decoder_start(pretrained_in(module)))
            arguments["decoder_input_ids"] = torch.cat((first, ids[:, :-1]), dim=1)
            arguments["decoder_attention_mask"] = mask.long()
        with _with_padding(config, self._padding, len(ids)):
            return module(**arguments)


def _decoder_start(pretrained: Any) -> int:
    """Return the id that the decoder reads before the text: the decoder start, or the beginning of a text, or 0."""
    configs = (pretrained.config, getattr(pretrained, "generation_config", None))
    named = [
        getattr(config, name, None)
        for name in ("decoder_start_token_id", "bos_token_id")
        for config in configs
    ]
    return next((number for number in named if isinstance(number, int)), 0)


@contextmanager
def _with_padding(config: Any, padding: int, documents: int) -> Iterator[None]:
    """Set the padding id of a model that has none while it reads several documents.

    The classification head of a decoder needs it to find the last position of each document.
    """
    text = _text_config(config)
    known = getattr(text, "pad_token_id", None)
    if documents < 2 or (known is not None and known >= 0):
        yield
        return
    text.pad_token_id = padding
    try:
        yield
    finally:
        text.pad_token_id = known


def _text_config(config: Any) -> Any:
    """Return the configuration of the part that reads text."""
    try:
        return config.get_text_config()
    except (AttributeError, ValueError):  # the model has no parts, or several that read text
        return config


def _lags(module: nn.Module, text: Sequence[int]) -> Mapping[str, int]:
    """Return the lags of the layers of an encoder-decoder, by pattern.

    The encoder and the layers that read its states have lag 0. The decoder, which reads the text after a start symbol,
    and everything after it has lag 1.
    """
    base, prefix = base_model_of(module), base_prefix(module)
    rules = {f"{prefix}{end}": 0 for end in ("encoder", "encoder.**") if hasattr(base, "encoder")}
    rules |= {f"{prefix}{end}": 1 for end in ("decoder", "decoder.**")} | {"**": 1}
    # Such as the keys and values of cross-attention: in the decoder, but at the encoder's positions.
    exceptions = {
        f"{prefix}{name}": lag
        for name, lag in _measured_lags(base, text).items()
        if lag == int(f"{name}.".startswith("encoder."))
    }
    return exceptions | rules


def _measured_lags(base: nn.Module, text: Sequence[int]) -> dict[str, int]:
    """Return 1 for layers whose output grows with the decoder's input, and 0 for those of the encoder."""
    try:
        with in_evaluation_mode(base), torch.no_grad():
            short, long = (_shapes(base, text, list(text[:1]) * steps) for steps in (2, 3))
    except Exception:
        # The model does not take separate inputs for its two sides: rely on the names of layers.
        return {}
    return {name: int(shape != long.get(name)) for name, shape in short.items()}


def _shapes(base: nn.Module, text: Sequence[int], decoder_text: Sequence[int]) -> dict[str, object]:
    """Return the shapes of the outputs of all parts of an encoder-decoder."""
    shape_of: dict[str, object] = {}
    device = input_device(base)
    with ExitStack() as hooks:
        for name, part in base.named_modules():
            if name:
                hook = part.register_forward_hook(partial(_record_shape, shape_of, name))
                hooks.callback(hook.remove)
        base(
            input_ids=torch.tensor([list(text)], device=device),
            decoder_input_ids=torch.tensor([list(decoder_text)], device=device),
        )
    return shape_of


def _record_shape(
    shape_of: dict[str, object], name: str, part: nn.Module, inputs: object, output: Any
) -> None:
    while isinstance(output, tuple | list | Mapping) and len(output):
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    if isinstance(output, Tensor):
        shape_of[name] = tuple(output.shape)


def _padding(tokenizer: Any, pretrained: Any, special: Sequence[int]) -> int:
    """Return the padding id: that of the model, which its head and positions rely on, or another unused special id.

    Only ids with an embedding are candidates; 0 if there is none.
    """
    configs = (pretrained.config, _text_config(pretrained.config))
    candidates = [*(getattr(config, "pad_token_id", None) for config in configs), tokenizer.pad_token_id]
    candidates += [number for number in tokenizer.all_special_ids if number not in special]
    rows = _input_rows(pretrained)
    ids = (number for number in candidates if isinstance(number, int) and number >= 0)
    return next((number for number in ids if rows is None or number < rows), 0)


def _input_rows(pretrained: Any) -> int | None:
    """Return the number of ids that the model knows; None if unknown, as for models that read characters."""
    try:
        table = pretrained.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        table = None
    size = _rows_of(table)
    if size is None:
        size = getattr(pretrained.config, "vocab_size", None)
    return size if isinstance(size, int) else None


def _rows_of(table: object) -> int | None:
    size = getattr(table, "num_embeddings", None)
    if isinstance(size, int):
        return size
    weight = getattr(table, "weight", None)
    return weight.shape[0] if isinstance(weight, Tensor) and weight.dim() == 2 else None


def _max_length(module: nn.Module, tokenizer: Any, limit: int | None) -> int | None:
    """Return the maximum length of an input; None if it is unlimited.

    The minimum over a limit of the object that holds the model, the tokenizer, the configurations of the model and its
    parts, and its tables of positions.
    """
    lengths = [limit, tokenizer.model_max_length]
    for part in base_model_of(module).modules():
        config = getattr(part, "config", None)
        lengths += [getattr(config, name, None) for name in _POSITIONS]
        for name, table in part.named_children():
            # RoBERTa and similar models number positions from the padding id + 1.
            padding, rows = getattr(table, "padding_idx", None), _rows_of(table)
            if "position" in name and padding is not None and rows is not None:
                # ProphetNet's decoder also looks up the position after the last piece.
                lengths.append(rows - padding - 1 - hasattr(part, "ngram_embeddings"))
    usable = [length for length in lengths if isinstance(length, int | float) and 1 <= length < 10**9]
    return int(min(usable, default=0)) or None
