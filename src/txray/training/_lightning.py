"""Lightning, which comes with the extra `train`."""

from __future__ import annotations

from txray._optional import import_extra

import_extra("training with Lightning needs", "train", "lightning")
import lightning.pytorch as pl  # noqa: E402  # after the check, so that one line says what is missing

__all__ = ["pl"]
