"""Loggers for W&B, TensorBoard, MLflow and Visdom; each imports its library when it is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txray._lazy import lazily
from txray.tracking.loggers.logger import Logger

if TYPE_CHECKING:
    from txray.tracking.loggers.mlflow import MLflowLogger
    from txray.tracking.loggers.tensorboard import TensorBoardLogger
    from txray.tracking.loggers.visdom import VisdomLogger
    from txray.tracking.loggers.wandb import WandbLogger

# Looked up on first use: figures and tables need plotly and polars.
_HOMES = {
    "MLflowLogger": "mlflow",
    "TensorBoardLogger": "tensorboard",
    "VisdomLogger": "visdom",
    "WandbLogger": "wandb",
}

__all__ = ["Logger", "MLflowLogger", "TensorBoardLogger", "VisdomLogger", "WandbLogger"]

__getattr__, __dir__ = lazily(__name__, _HOMES, __all__)
