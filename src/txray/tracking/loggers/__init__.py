"""Loggers for experiment trackers; the library of each is imported when its logger is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import attach

if TYPE_CHECKING:
    from txray.tracking.loggers.logger import Logger as Logger
    from txray.tracking.loggers.mlflow import MLflowLogger as MLflowLogger
    from txray.tracking.loggers.tensorboard import TensorBoardLogger as TensorBoardLogger
    from txray.tracking.loggers.visdom import VisdomLogger as VisdomLogger
    from txray.tracking.loggers.wandb import WandbLogger as WandbLogger

# Imported on first use, because writing figures and tables needs plotly and polars.
__getattr__, __dir__, __all__ = attach(__name__)
