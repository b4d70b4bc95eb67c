"""Turn tensors of torch into bytes, for fingerprints; torch is imported by whoever has a tensor."""

from __future__ import annotations

import sys
from typing import Any


def tensor_bytes(tensor: Any) -> bytes:
    """Return the dtype, shape and values of a torch tensor as bytes, for any dtype and device.

    Quantized tensors and other tensors that consist of several, as those of torchao, are described by these.
    """
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None:
        names, context = flatten()
        parts = (tensor_bytes(getattr(tensor, name)) for name in names)
        return b"".join((repr((type(tensor).__name__, tuple(names), context)).encode(), *parts))
    if tensor.is_quantized:
        scheme = tensor.qscheme()
        by_channel = "channel" in str(scheme)
        scale = (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()) if by_channel else ()
        about = (
            tensor.q_per_channel_axis() if by_channel else (tensor.q_scale(), tensor.q_zero_point()),
            str(scheme),
        )
        return b"".join((repr(about).encode(), *map(tensor_bytes, (tensor.int_repr(), *scale))))
    # torch conjugates and negates lazily: resolve both.
    values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    head = repr((str(values.dtype), tuple(values.shape))).encode()
    if values.numel() == 0:  # torch cannot view an empty tensor as bytes
        return head
    # As bytes, because numpy lacks some dtypes of torch.
    # Joined, because the sum would need another copy of a large table.
    return b"".join((head, values.reshape(-1).view(sys.modules["torch"].uint8).numpy().data))
