"""Convert a figure to plain JSON values, which every version of plotly.js reads.

plotly packs arrays as base64, which plotly.js reads since 2.35. The pages of experiment trackers bring their own
version; an older one silently draws nothing for a packed array.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray


def plain_figure(figure: go.Figure) -> dict[str, Any]:
    """Return data, layout and frames of a figure as strict JSON: what is not finite is null, as in plotly's files."""
    plain: dict[str, Any] = _plain(json.loads(figure.to_json()))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if {"bdata", "dtype"} <= value.keys():
            return _plain(_unpacked(value).tolist())
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _unpacked(packed: dict[str, str]) -> NDArray[Any]:
    """Return the array that plotly packed: little-endian bytes, and the lengths of its axes if there are several."""
    array = np.frombuffer(base64.b64decode(packed["bdata"]), np.dtype(packed["dtype"]).newbyteorder("<"))
    return array.reshape([int(size) for size in packed["shape"].split(",")]) if "shape" in packed else array
