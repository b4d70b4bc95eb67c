"""The tokens that each neuron of a language model promotes and suppresses, and how its wins agree with predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from txray.arrays import Floats, Ints
from txray.errors import ShapeError

if TYPE_CHECKING:
    from txray.preferences.preferences import Preferences

OUTPUT_TOKENS = "output_tokens.parquet"
"""In the folder of a stage whose output tokens were computed."""

PROMOTED, SUPPRESSED = "promoted", "suppressed"

OUTPUT_TOKEN_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.String(),
    "neuron": pl.UInt32(),
    "side": pl.String(),
    "rank": pl.UInt16(),
    "id": pl.UInt32(),
    "token": pl.String(),
    "effect": pl.Float32(),
}
