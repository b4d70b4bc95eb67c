"""Put an adapter of PEFT onto its base model."""

from __future__ import annotations

from typing import Any

from txray._optional import import_package
from txray.errors import SnapshotError
from txray.models.folders import ADAPTER_CONFIG, ADAPTER_WEIGHTS, Contents
from txray.models.wrappers import require_adapter_in_layers

_CLASSES = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}
"""Task type of an adapter -> class of transformers that it was trained on."""

_PREFIX = "base_model.model."
"""Prefix of the names of weights in the file of an adapter; then the names in the model that was trained."""


class AdapterWeights:
    """Weights of an adapter, and the names that they have in its base model."""

    def __init__(self, contents: Contents) -> None:
        """Read the file.

        Raises:
            SnapshotError: there is no file of weights that cannot run code, or the kind of adapter is not supported.
        """
        from safetensors.torch import load_file

        assert contents.adapter is not None
        self._source, self._config = contents.adapter, contents.adapter_config
        path = self._source.file(ADAPTER_WEIGHTS)
        if path is None:
            raise SnapshotError(
                f"{self._source.name}: has no {ADAPTER_WEIGHTS}; save the adapter with safe_serialization=True"
            )
        if self._config.get("megatron_config"):
            raise SnapshotError(
                f"{self._source.name}: its {ADAPTER_CONFIG} names a module of Megatron to import, which could run "
                "code; remove megatron_config"
            )
        self._folder = path.parent
        self._weights = load_file(path)

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the weights, as in the model that was trained."""
        return frozenset(name.removeprefix(_PREFIX) for name in self._weights)

    @property
    def n_classes(self) -> int | None:
        """Return the number of classes of a head that was trained with the adapter; None without one."""
        heads = [
            weight
            for name, weight in sorted(self._weights.items())
            if self._config.get("task_type") == "SEQ_CLS"
            and name.endswith(("classifier.weight", "score.weight", "out_proj.weight"))
        ]
        return None if not heads else int(heads[-1].shape[0])

    def trained_class(self, transformers: Any, prefix: str) -> str:
        """Return the name of the class of transformers that the adapter was trained on.

        Args:
            transformers: the library.
            prefix: name of the base model inside models with a head, such as `bert`.
        """
        named = (self._config.get("auto_mapping") or {}).get("base_model_class")
        known = getattr(transformers, str(named), None)
        if isinstance(known, type) and issubclass(known, transformers.PreTrainedModel):
            return str(named)
        return _CLASSES.get(str(self._config.get("task_type")), "") or (
            "" if any(name.startswith(f"{prefix}.") for name in self.names) else "AutoModel"
        )

    def apply(self, module: Any, *, merge: bool) -> Any:
        """Return a base model with the adapter.

        Args:
            module: the base model; changed.
            merge: whether to add the adapter to the weights, so that the layers have their original classes.

        Raises:
            UsageError: peft is not installed.
            SnapshotError: the weights do not belong to this model.
        """
        peft = import_package("peft", "an adapter")
        model = peft.PeftModel.from_pretrained(module, str(self._folder), trust_remote_code=False)
        require_adapter_in_layers(model)
        # The library ignores weights that fit nothing, and keeps random ones for those that are missing.
        expected = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
        missing, unknown = sorted(expected - set(self._weights)), sorted(set(self._weights) - expected)
        if missing or unknown:
            problem = (
                f"lacks {missing[0]}"
                if missing
                else f"has {unknown[0]}, which belongs to no layer of the base"
            )
            raise SnapshotError(
                f"{self._source.name}: its {ADAPTER_WEIGHTS} {problem}; use the base model that it was trained on "
                "(base, --base)"
            )
        return model.merge_and_unload() if merge else model
