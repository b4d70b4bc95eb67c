"""Read text through a model of TransformerLens, whose hook points are modules like any other."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from txray.errors import UsageError
from txray.models.piece_names import PieceNames
from txray.models.pieces import PieceEncoder, require_pieces
from txray.models.text_model import Pooling, TextModel

_LONGEST_WINDOW = 1_024
"""Default maximum length of an input, as for other transformers."""


def from_transformer_lens(
    model: Any, tokenizer: Any, *, window: int | None, overlap: int, pooling: Pooling
) -> TextModel:
    """Return a `TextModel` of a `HookedTransformer` or `TransformerBridge`.

    It reads a text as the library does: after the beginning-of-sequence token, unless the model's configuration says
    `default_prepend_bos=False`, and with the library's own forward pass.

    Args:
        model: the model.
        tokenizer: that of the model, or another one.
        window, overlap, pooling: see `hugging_face`.

    Raises:
        UsageError: no tokenizer or not a fast one, or `window` is more than the model can read.
    """
    kind, tokenizer = type(model).__name__, model.tokenizer if tokenizer is None else tokenizer
    if tokenizer is None:
        raise UsageError(
            f"from_transformers: a {kind} has no tokenizer; pass it: from_transformers(model, tokenizer)"
        )
    require_pieces(tokenizer, kind)
    limit = int(model.cfg.n_ctx)
    if window is not None and window > limit:
        raise UsageError(
            f"{kind}: window={window}; the model reads at most {limit} positions; choose a smaller one"
        )
    begins = getattr(model.cfg, "default_prepend_bos", True) and tokenizer.bos_token_id is not None
    return TextModel(
        module=model,
        encode=PieceEncoder(tokenizer),
        forward=_logits,
        prefix=(int(tokenizer.bos_token_id),) if begins else (),
        padding=int(tokenizer.pad_token_id or 0),
        max_length=window or min(limit, _LONGEST_WINDOW),
        overlap=overlap,
        pooling=pooling,
        task="next-word",
        output_name=PieceNames(tokenizer),
    )


def _logits(module: nn.Module, ids: Tensor, mask: Tensor) -> object:
    """Run `module` on (documents, time) ids; the mask is True where a position is in use."""
    return module(ids, attention_mask=mask.long(), return_type="logits")
