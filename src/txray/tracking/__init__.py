"""Watching a training: what its neurons know at every so many steps, told to the trackers that people use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray.lazy import lazily

if TYPE_CHECKING:
    from txray.tracking.checkpoints import Checkpoint, find_checkpoints
    from txray.tracking.hugging_face import HuggingFaceCallback
    from txray.tracking.lightning import LightningCallback
    from txray.tracking.loggers import Logger
    from txray.tracking.probe import Probe
    from txray.tracking.replaying import replay
    from txray.tracking.telling import FIGURES
    from txray.tracking.tracker import Tracker

# Looked up on first use: each callback needs a library of its own.
_HOMES = {
    "Checkpoint": "checkpoints",
    "FIGURES": "telling",
    "HuggingFaceCallback": "hugging_face",
    "LightningCallback": "lightning",
    "Logger": "loggers",
    "Probe": "probe",
    "Tracker": "tracker",
    "find_checkpoints": "checkpoints",
    "replay": "replaying",
}

__all__ = [
    "FIGURES",
    "Checkpoint",
    "HuggingFaceCallback",
    "LightningCallback",
    "Logger",
    "Probe",
    "Tracker",
    "find_checkpoints",
    "replay",
]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__)
