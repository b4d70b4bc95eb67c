"""Training of the built-in models: a snapshot and metrics after each epoch; interrupted runs resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.training.classifier import train_classifier as train_classifier
    from txray.training.device import device_of as device_of
    from txray.training.language_model import train_language_model as train_language_model
    from txray.training.run import TrainingRun as TrainingRun
    from txray.training.run import load_run as load_run
    from txray.training.stream_loss import language_model_loss as language_model_loss

# Imported on first use: reading a run needs neither torch nor Lightning.
__getattr__, __dir__, __all__ = attach(__name__)
