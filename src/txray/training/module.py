"""The two parts of a training that differ: the module, with its batches, loss and metrics, and the configuration."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Adam

from txray.errors import UsageError
from txray.models import RecurrentModel
from txray.training._lightning import pl

Metrics = dict[str, dict[str, float]]
"""Split -> metric -> value; the metrics include `loss`."""


class TrainingModule(pl.LightningModule, ABC):
    """Lightning module of one kind of training.

    Attributes:
        model: the model being trained.
        epoch: number of the current epoch, from 1.
        initial_optimizer_state: parameter number -> name -> value; None for a new optimizer.
        last_epoch: number of the last epoch stored on disk, and the validation metrics after it.
    """

    def __init__(self, model: RecurrentModel, learning_rate: float) -> None:
        super().__init__()
        self.model = model
        self.epoch = 1
        self.initial_optimizer_state: dict[int, dict[str, Tensor]] | None = None
        self.last_epoch: tuple[int, dict[str, float]] = (0, {})
        self._learning_rate = learning_rate

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[Any]:
        """Return the batches of an epoch, always the same for the same epoch."""

    @abstractmethod
    def batch_count(self) -> int:
        """Return the number of batches per epoch."""

    @abstractmethod
    def count_words(self, batch: Any) -> int:
        """Return the number of words in a batch, for the progress bar."""

    @abstractmethod
    def words_per_epoch(self) -> int:
        """Return the number of words in all batches of an epoch."""

    @abstractmethod
    def evaluate(self) -> Metrics:
        """Return the metrics of the model; called in `eval()` mode, without gradients."""

    def configure_optimizers(self) -> Adam:
        """Return Adam for all trainable parameters, with the initial state if there is one."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = Adam(parameters, lr=self._learning_rate, fused=True)
        if self.initial_optimizer_state is not None:
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": self.initial_optimizer_state, "param_groups": groups})
        return optimizer


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters that every training has; see `train_language_model`.

    Raises:
        UsageError: a number is out of range.
    """

    epochs: int
    learning_rate: float
    clip: float
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        for name, minimum in (("epochs", 1), ("patience", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise UsageError(f"training: {name}={value}; it must be at least {minimum}")
        if self.seed >= 1 << 63:
            raise UsageError(f"training: seed={self.seed}; it must be below 2^63")
        for name in ("learning_rate", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"training: {name}={getattr(self, name)}; it must be a number above 0")
