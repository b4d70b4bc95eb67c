"""What a training teaches, and how long and fast; the loop around it is shared."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
from torch import Tensor
from torch.optim import Adam

from txray.errors import UsageError
from txray.models import RecurrentModel

Scores = dict[str, dict[str, float]]
"""Split -> score -> value; `loss` is always among the scores."""


class Learner(pl.LightningModule, ABC):
    """What is particular to one kind of training: its batches, its loss, its scores.

    Attributes:
        model: the one being trained.
        epoch: the current one, from 1.
        restored: optimizer state to start from; None for a fresh one.
        complete: the latest epoch that is complete on the disk, and the model's validation scores after it.
    """

    def __init__(self, model: RecurrentModel, learning_rate: float) -> None:
        super().__init__()
        self.model = model
        self.epoch = 1
        self.restored: dict[int, dict[str, Tensor]] | None = None
        self.complete: tuple[int, dict[str, float]] = (0, {})
        self._learning_rate = learning_rate

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[Any]:
        """The batches of an epoch; the same ones for the same epoch."""

    @abstractmethod
    def batch_count(self) -> int:
        """How many batches an epoch has."""

    @abstractmethod
    def words_of(self, batch: Any) -> int:
        """How many words a batch has, for the progress bar."""

    @abstractmethod
    def words_per_epoch(self) -> int:
        """How many words the batches of an epoch have in all."""

    @abstractmethod
    def scores(self) -> Scores:
        """The model's scores; called in `eval()` mode, without gradients."""

    def configure_optimizers(self) -> Adam:
        """Adam over everything that is not frozen, with its earlier state where there is one."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = Adam(parameters, lr=self._learning_rate, fused=True)
        if self.restored is not None:
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": self.restored, "param_groups": groups})
        return optimizer


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: at most; an interrupted or finished run can go on to more.
        learning_rate: of Adam at the start; a quarter of it after each epoch that did not improve the
            validation loss.
        clip: largest norm of the gradient.
        patience: stop after so many epochs without a better validation loss; None: never.
        seed: of dropout and of the order of the batches.

    Raises:
        UsageError: a number that cannot be.
    """

    epochs: int
    learning_rate: float
    clip: float
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("patience", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"training: {name}={value}; it must be at least {least}")
        if self.seed >= 1 << 63:
            raise UsageError(f"training: seed={self.seed}; it must be below 2^63")
        for name in ("learning_rate", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"training: {name}={getattr(self, name)}; it must be a number above 0")
