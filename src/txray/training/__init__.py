"""Training of the built-in models: snapshots and curves, epoch by epoch, resumable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily

if TYPE_CHECKING:
    from txray.training.classifier import train_classifier
    from txray.training.device import device_of
    from txray.training.language_model import language_model_loss, train_language_model
    from txray.training.run import TrainingRun, load_run

# Looked up on first use, so that reading a run costs neither torch nor lightning.
_HOMES = {
    "TrainingRun": "run",
    "device_of": "device",
    "language_model_loss": "language_model",
    "load_run": "run",
    "train_classifier": "classifier",
    "train_language_model": "language_model",
}

__all__ = [
    "TrainingRun",
    "device_of",
    "language_model_loss",
    "load_run",
    "train_classifier",
    "train_language_model",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__)
