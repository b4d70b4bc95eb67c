"""Add the head of a language model to its base model, which keeps its weights and the names of its layers."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from txray._optional import import_extra
from txray.errors import SnapshotError, UsageError
from txray.models.folders import Source

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


class HeadSource:
    """Where the head of a language model is, whose base model was loaded without it."""

    def __init__(self, source: Source) -> None:
        """Take the head from these files, when it is needed."""
        self._source = source

    def __call__(self, base: nn.Module) -> nn.Module:
        """Return the language model around its base model, whose weights it shares; only those of the head are read.

        Args:
            base: the model, as `AutoModel` loads it.

        Raises:
            UsageError: the model was not saved as one that predicts the next word.
            SnapshotError: weights of the head are missing.
        """
        transformers = import_extra("Hugging Face models need", "hf", "transformers")
        config: Any = base.config
        model_class = _class_of(transformers, config, self._source.name)
        with torch.device("meta"):
            model: Any = model_class(config)
        prefix = model.base_model_prefix
        if type(getattr(model, prefix, None)) is not type(base):
            raise UsageError(
                f"{self._source.name}: {model_class.__name__} is not built around a {type(base).__name__}, so its head "
                "cannot be added; load it with head=True"
            )
        setattr(model, prefix, base)
        model.tie_weights()
        self._read_weights(model, next(base.parameters()))
        for name, part in model.named_children():
            if name != prefix:
                part.eval()
        model.training = base.training
        language_model: nn.Module = model
        return language_model

    def _read_weights(self, model: Any, like: torch.Tensor) -> None:
        """Read the weights that are not those of the base model, in the dtype and on the device of another tensor."""
        tensors = dict([*model.named_parameters(), *model.named_buffers()])
        for key in [key for key, tensor in tensors.items() if tensor.is_meta]:
            value = self._tensor(key)
            if value is None or value.shape != tensors[key].shape:
                raise SnapshotError(
                    f"{self._source.name}: lacks the weight {key} of its head, which would be random; use a complete "
                    f"{_WEIGHTS}"
                )
            owner, _, name = key.rpartition(".")
            part = model.get_submodule(owner)
            value = value.to(like.device, like.dtype if value.is_floating_point() else value.dtype)
            if name in part._parameters:
                part._parameters[name] = nn.Parameter(value, requires_grad=False)
            else:
                part._buffers[name] = value

    def _tensor(self, key: str) -> torch.Tensor | None:
        """Return a saved tensor; None if there is none."""
        index = self._source.json(_INDEX)
        file = self._source.file(_WEIGHTS if index is None else index["weight_map"].get(key, _WEIGHTS))
        if file is None:
            return None
        with safe_open(file, framework="pt") as tensors:
            return tensors.get_tensor(key) if key in set(tensors.keys()) else None


def predicts_next_word(config: Any) -> bool:
    """Return whether a model of this configuration was saved as one that predicts the next word."""
    return not config.is_encoder_decoder and any(
        name.endswith(("ForCausalLM", "LMHeadModel")) for name in config.architectures or []
    )


def _class_of(transformers: Any, config: Any, name: str) -> Any:
    if not predicts_next_word(config):
        saved = ", ".join(config.architectures or []) or "an unnamed class"
        raise UsageError(
            f"{name}: was saved as {saved}, which does not predict the next word; use a causal language model, or omit "
            "'output' and output_tokens"
        )
    return transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
