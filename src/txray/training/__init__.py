"""Training of the built-in models: snapshots and curves, epoch by epoch, resumable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.training.classifier import train_classifier as train_classifier
    from txray.training.device import device_of as device_of
    from txray.training.language_model import language_model_loss as language_model_loss
    from txray.training.language_model import train_language_model as train_language_model
    from txray.training.run import TrainingRun as TrainingRun
    from txray.training.run import load_run as load_run

# Imported on first use, so that reading a run costs neither torch nor lightning.
__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "classifier": "train_classifier",
        "device": "device_of",
        "language_model": "language_model_loss train_language_model",
        "run": "TrainingRun load_run",
    },
)
