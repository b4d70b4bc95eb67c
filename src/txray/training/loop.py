"""The one training loop: epochs by Lightning, a complete snapshot after each, and resuming."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor

from txray.errors import TxrayError, UsageError
from txray.models import load_snapshot
from txray.progress import Advance, progress
from txray.training.device import device_of
from txray.training.folder import RunFolder, State
from txray.training.learner import Learner, Schedule
from txray.training.run import TrainingRun, annealed_rate, is_exhausted, load_run, snapshot_folder

# The usual factor of recurrent language models.
_ANNEALING = 4.0


def run_training(
    learner: Learner,
    folder: Path,
    schedule: Schedule,
    *,
    device: str,
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
    callbacks: Sequence[pl.Callback] = (),
) -> TrainingRun:
    """Train, or go on with a training, until its last epoch or until patience ends.

    Args:
        learner: with the untrained model.
        folder: of the run: new, empty, or of a run with the same settings.
        schedule: how long and how fast.
        device: `auto`, `cpu` or `cuda`.
        settings: all that the result depends on besides the schedule and the device.
        facts: worth knowing about the data.
        callbacks: called once an epoch is complete on the disk.

    Raises:
        UsageError: the folder belongs to another run, or has more epochs than asked for.
        SnapshotError: the folder is damaged.
        OutputError: the folder cannot be written.
        TxrayError: the loss is no longer a number.
    """
    place = device_of(device)
    run = RunFolder(folder)
    kept = {
        "learning_rate": schedule.learning_rate,
        "clip": schedule.clip,
        "patience": schedule.patience,
        "seed": schedule.seed,
        "device": place.type,
    }
    run.claim({**settings, **kept}, facts)
    state = run.state()
    if state is not None and state.epoch > schedule.epochs:
        raise UsageError(
            f"{folder}: has {state.epoch} epochs already, asked for are {schedule.epochs}; "
            "ask for at least as many, or give another folder"
        )
    learner.to(place)
    with torch.random.fork_rng(devices=[place.index] if place.type == "cuda" else []), _quiet_lightning():
        epochs = _Epochs(run, schedule)
        if state is None:
            epochs.close(learner, 0, {})
        else:
            epochs.restore(learner, state)
        if not epochs.finished():
            _fit(learner, epochs, schedule, place, folder, callbacks)
    return load_run(folder)


class _Epochs(pl.Callback):
    """Opens and closes epochs: seed and learning rate before, scores and snapshot after."""

    def __init__(self, folder: RunFolder, schedule: Schedule) -> None:
        self._folder = folder
        self._schedule = schedule
        self._rows: list[dict[str, Any]] = []
        self._advance: Advance | None = None
        self._bar = ExitStack()
        self.interrupted = False
        self.done = 0

    def close(self, learner: Learner, epoch: int, optimizer: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Score the model and make the epoch complete on the disk."""
        learner.eval()
        with torch.no_grad():
            scores = learner.scores()
        if not all(math.isfinite(values["loss"]) for values in scores.values()):
            raise TxrayError(
                f"{self._folder.path}: the loss is no longer a number after epoch {epoch}; "
                f"lower the learning rate ({self._schedule.learning_rate}) in another folder"
            )
        self._rows += [{"epoch": epoch, "split": split, **values} for split, values in scores.items()]
        self._folder.commit(learner.model, optimizer, epoch, self._rows)
        self.done = epoch
        learner.complete = epoch, scores["validation"]

    def restore(self, learner: Learner, state: State) -> None:
        """Put the learner where the run stands."""
        snapshot = snapshot_folder(self._folder.path, state.epoch)
        learner.model.load_state_dict(load_snapshot(snapshot).state_dict())
        learner.restored = state.optimizer
        self._rows = state.rows
        self._folder.write_curves(state.rows)
        self.done = state.epoch
        learner.complete = state.epoch, {}

    def finished(self) -> bool:
        """Whether no further epoch is due."""
        return self.done >= self._schedule.epochs or is_exhausted(self._losses(), self._schedule.patience)

    def on_train_epoch_start(self, trainer: pl.Trainer, learner: Learner) -> None:  # type: ignore[override]
        epoch = learner.epoch = self.done + 1
        learner.train()
        _seed(learner.device, (self._schedule.seed, epoch))
        rate = annealed_rate(self._schedule.learning_rate, self._losses(), _ANNEALING)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate
        title = f"epoch {epoch} of {self._schedule.epochs}, validation loss {self._losses()[-1]:.3f}"
        self._advance = self._bar.enter_context(progress(title, learner.words_per_epoch()))

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, learner: Learner, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._advance is not None:
            self._advance(learner.words_of(batch))

    def on_train_epoch_end(self, trainer: pl.Trainer, learner: Learner) -> None:  # type: ignore[override]
        self._bar.close()
        self.close(learner, learner.epoch, trainer.optimizers[0].state_dict()["state"])
        trainer.should_stop = self.finished()
        learner.epoch += 1

    def on_exception(
        self, trainer: pl.Trainer, learner: pl.LightningModule, exception: BaseException
    ) -> None:
        self._bar.close()
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def _losses(self) -> list[float]:
        return [row["loss"] for row in self._rows if row["split"] == "validation"]


class _Batches:
    """The batches of the learner's current epoch, as the sized iterable that Lightning asks for."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def __len__(self) -> int:
        return self._learner.batch_count()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._learner.batches(self._learner.epoch))


def _fit(
    learner: Learner,
    epochs: _Epochs,
    schedule: Schedule,
    place: torch.device,
    folder: Path,
    callbacks: Sequence[pl.Callback],
) -> None:
    learner.epoch = epochs.done + 1
    trainer = pl.Trainer(
        accelerator="gpu" if place.type == "cuda" else "cpu",
        devices=1,
        plugins=[LightningEnvironment()],
        max_epochs=schedule.epochs - epochs.done,
        gradient_clip_val=schedule.clip,
        callbacks=[epochs, *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(learner, train_dataloaders=_Batches(learner))
    except SystemExit:
        if not epochs.interrupted:
            raise
        # Lightning turns Ctrl-C into an exit and ignores further ones: undo both.
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _seed(place: torch.device, entropy: tuple[int, int]) -> None:
    """Seed the generators that dropout on this device draws from, and no others."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    torch.default_generator.manual_seed(seed)
    if place.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's hints; errors still come through as exceptions."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
