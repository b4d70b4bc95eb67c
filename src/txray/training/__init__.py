"""Training of the built-in models: snapshots and curves, epoch by epoch, resumable."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
