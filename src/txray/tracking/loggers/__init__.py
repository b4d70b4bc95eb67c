"""Places that keep measurements; the library of each is imported when its logger is made."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from txray.tracking.loggers.logger import Logger

if TYPE_CHECKING:
    from txray.tracking.loggers.mlflow import MLflowLogger
    from txray.tracking.loggers.tensorboard import TensorBoardLogger
    from txray.tracking.loggers.visdom import VisdomLogger
    from txray.tracking.loggers.wandb import WandbLogger

# Looked up on first use: what writes figures and tables costs plotly and polars.
_HOMES = {
    "MLflowLogger": "mlflow",
    "TensorBoardLogger": "tensorboard",
    "VisdomLogger": "visdom",
    "WandbLogger": "wandb",
}

__all__ = ["Logger", "MLflowLogger", "TensorBoardLogger", "VisdomLogger", "WandbLogger"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
