"""Find the model and its tokenizer inside the objects of other libraries, without importing those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from txray.errors import UsageError
from txray.models.base_model import is_a, needs_peft, pretrained_in, unwrapped


@dataclass(frozen=True, eq=False)
class WrappedModel:
    """A model, and what the object around it says about how it reads text.

    Attributes:
        module: the model, with its own layer names.
        tokenizer: its tokenizer; None if the object has none.
        max_length: maximum number of positions of an input; None if the object does not limit it.
    """

    module: nn.Module
    tokenizer: Any = None
    max_length: int | None = None


def is_transformer_lens(model: object) -> bool:
    """Return whether a model is one of TransformerLens: a `HookedTransformer`, or the bridge that replaced it."""
    return is_a(model, "transformer_lens.HookedTransformer") or is_a(
        model, "transformer_lens.TransformerBridge"
    )


def is_wrapper(model: object) -> bool:
    """Return whether an object of another library holds a model and its tokenizer."""
    return any(is_a(model, name) for name in _CONTENTS)


def wrapped_model(model: Any) -> WrappedModel:
    """Return the model inside an object of another library; any other module, without its wrappers.

    Raises:
        UsageError: the object holds no model of transformers, several, or one whose weights are not loaded.
    """
    for name, contents in _CONTENTS.items():
        if is_a(model, name):
            return contents(model)
    model = unwrapped(model)
    require_adapter_in_layers(model)
    return WrappedModel(model)


def require_adapter_in_layers(model: Any) -> None:
    """Raise if a model of PEFT changes more than the layers of its base model.

    Raises:
        UsageError: its adapter reads virtual tokens before the text, or looks for a sequence of tokens in it.
    """
    if is_a(model, "peft.PeftModel") and needs_peft(model):
        config = model.active_peft_config
        kind = getattr(config.peft_type, "value", config.peft_type)
        raise UsageError(
            f"adapter of type {kind}: it works on the input of the model, not in its layers, so their outputs have "
            "other positions than the text; use one that works in layers, such as LORA, or wrap the model in a "
            "txray.TextModel with lags"
        )


def _in_pipeline(pipeline: Any) -> WrappedModel:
    return WrappedModel(unwrapped(pipeline.model), pipeline.tokenizer)


def _in_sentence_transformer(model: Any) -> WrappedModel:
    """Return the transformer of a `SentenceTransformer`, `SparseEncoder` or `CrossEncoder`."""
    kind = type(model).__name__
    inner = getattr(model, "model", None)
    parts = list(model.children()) if isinstance(model, nn.Sequential) else [inner]
    holders = [part for part in parts if isinstance(part, nn.Module) and _has_pretrained(part)]
    if len(holders) != 1:
        raise UsageError(
            f"{kind}: contains {len(holders)} transformers ({', '.join(type(part).__name__ for part in parts)}); pass "
            "one with its tokenizer: txray.models.from_transformers(transformer, tokenizer)"
        )
    holder = _inner_model(holders[0])
    limit = getattr(model, "max_seq_length", None) or getattr(model, "max_length", None)
    tokenizer = model.tokenizer
    # Since version 6, lower-casing is a step of the tokenizer itself.
    if getattr(holders[0], "do_lower_case", False):
        tokenizer = lowercasing(tokenizer)
    return WrappedModel(holder, tokenizer, limit if isinstance(limit, int) else None)


def _inner_model(part: nn.Module) -> nn.Module:
    """Return the model that a module of sentence-transformers holds, without the name under which it does."""
    inner = next((child for child in part.children() if _has_pretrained(child)), part)
    transformer: nn.Module = unwrapped(part if is_a(part, "transformers.PreTrainedModel") else inner)
    return transformer


def _in_nnsight(model: Any) -> WrappedModel:
    if getattr(model, "dispatched", True) is False:
        raise UsageError(
            f"{type(model).__name__} of nnsight: its weights are not loaded; create it with dispatch=True"
        )
    return WrappedModel(unwrapped(model), getattr(model, "tokenizer", None))


_CONTENTS = {
    "transformers.Pipeline": _in_pipeline,
    "sentence_transformers.SentenceTransformer": _in_sentence_transformer,
    "sentence_transformers.CrossEncoder": _in_sentence_transformer,
    "nnsight.Envoy": _in_nnsight,
}
"""Library and class -> function that finds the model in an object of it."""


def _has_pretrained(module: nn.Module) -> bool:
    return is_a(pretrained_in(module), "transformers.PreTrainedModel")


def lowercasing(tokenizer: Any) -> Any:
    """Return a copy of a fast tokenizer that lower-cases the text first, as sentence-transformers does on request."""
    from copy import deepcopy

    from tokenizers import normalizers

    tokenizer = deepcopy(tokenizer)
    backend = tokenizer.backend_tokenizer
    steps = [normalizers.Lowercase()]
    if backend.normalizer is not None:
        steps.append(backend.normalizer)
    backend.normalizer = normalizers.Sequence(steps)
    return tokenizer
