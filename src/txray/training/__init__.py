"""Training of the built-in models: a snapshot and metrics after each epoch; interrupted runs resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily

if TYPE_CHECKING:
    from txray.training.classifier import train_classifier
    from txray.training.device import device_of
    from txray.training.language_model import train_language_model
    from txray.training.run import TrainingRun, load_run
    from txray.training.stream_loss import language_model_loss

# Imported on first use: reading a run needs neither torch nor Lightning.
_HOMES = {
    "TrainingRun": "run",
    "device_of": "device",
    "language_model_loss": "stream_loss",
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
