"""Means and standard deviations by which activations were standardized."""

from __future__ import annotations

import polars as pl

SCALE_SCHEMA: dict[str, pl.DataType] = {
    "layer": pl.String(),
    "neuron": pl.Int64(),
    "mean": pl.Float64(),
    "deviation": pl.Float64(),
}
"""Columns of the table of scales."""
