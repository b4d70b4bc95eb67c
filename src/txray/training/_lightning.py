"""Lightning, which comes with the extra `train`."""

from __future__ import annotations

from txray._optional import require

require("training with Lightning needs", "train", "lightning")
import lightning.pytorch as pl  # noqa: E402  # after the check, so that one line says what is missing

__all__ = ["pl"]
