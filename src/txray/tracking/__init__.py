"""Tracking of a training: stages at regular steps or epochs, their comparison, and logging to W&B and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.tracking.checkpoint_replay import replay as replay
    from txray.tracking.checkpoints import Checkpoint as Checkpoint
    from txray.tracking.checkpoints import find_checkpoints as find_checkpoints
    from txray.tracking.collect_spec import CollectSpec as CollectSpec
    from txray.tracking.hugging_face import HuggingFaceCallback as HuggingFaceCallback
    from txray.tracking.lightning import LightningCallback as LightningCallback
    from txray.tracking.log_dispatch import FIGURES as FIGURES
    from txray.tracking.loggers import Logger as Logger
    from txray.tracking.tracker import Tracker as Tracker

# Imported on first use: each callback needs a library of its own.
__getattr__, __dir__, __all__ = attach(__name__)
