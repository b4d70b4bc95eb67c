"""The training loop: epochs by Lightning, a complete snapshot after each, and resuming."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from txray.errors import TxrayError, UsageError
from txray.models import load_snapshot
from txray.progress import Advance, progress
from txray.training._lightning import pl
from txray.training.device import device_of
from txray.training.folder import RunFolder, TrainingState
from txray.training.module import TrainConfig, TrainingModule
from txray.training.run import TrainingRun, annealed_rate, is_exhausted, load_run, snapshot_folder

# The usual factor for recurrent language models.
_ANNEALING = 4.0


def run_training(
    module: TrainingModule,
    folder: Path,
    config: TrainConfig,
    *,
    device: str,
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
    callbacks: Sequence[pl.Callback] = (),
) -> TrainingRun:
    """Train, or resume a training, until the last epoch or until patience is exhausted.

    Args:
        module: module with the untrained model.
        folder: new, empty, or of a run with the same settings.
        config: hyperparameters.
        device, callbacks: see `train_language_model`.
        settings: everything else the result depends on.
        facts: counts of the data, stored with the run.

    Raises:
        UsageError: the folder belongs to another run, or has more epochs than requested.
        SnapshotError: the folder is damaged.
        OutputError: the folder cannot be written.
        TxrayError: the loss is no longer a number.
    """
    torch_device = device_of(device)
    run = RunFolder(folder)
    hyperparameters = {name: value for name, value in asdict(config).items() if name != "epochs"}
    run.lock_settings({**settings, **hyperparameters, "device": torch_device.type}, facts)
    state = run.state()
    if state is not None and state.epoch > config.epochs:
        raise UsageError(
            f"{folder}: has {state.epoch} epochs already (requested: {config.epochs}); "
            "request at least as many, or use another folder"
        )
    module.to(torch_device)
    cuda_devices = [torch_device.index] if torch_device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda_devices), _quiet_lightning():
        snapshots = SnapshotCallback(run, config)
        if state is None:
            snapshots.store_epoch(module, 0, {})
        else:
            snapshots.resume(module, state)
        if not snapshots.is_finished():
            _fit(module, snapshots, config, torch_device, folder, callbacks)
    return load_run(folder)


class SnapshotCallback(pl.Callback):
    """Sets seed and learning rate before each epoch, and stores metrics and snapshot after it.

    Attributes:
        last_epoch: number of the last epoch stored on disk.
        interrupted: whether the training was stopped by Ctrl-C.
    """

    def __init__(self, folder: RunFolder, config: TrainConfig) -> None:
        self._folder = folder
        self._config = config
        self._rows: list[dict[str, Any]] = []
        self._advance: Advance | None = None
        self._bar = ExitStack()
        self.interrupted = False
        self.last_epoch = 0

    def store_epoch(
        self, module: TrainingModule, epoch: int, optimizer: Mapping[int, Mapping[str, Tensor]]
    ) -> None:
        """Evaluate the model and store the epoch on disk."""
        module.eval()
        with torch.no_grad():
            metrics = module.evaluate()
        if not all(math.isfinite(values["loss"]) for values in metrics.values()):
            raise TxrayError(
                f"{self._folder.path}: the loss is no longer a number after epoch {epoch}; "
                f"lower the learning rate ({self._config.learning_rate}) in another folder"
            )
        self._rows += [{"epoch": epoch, "split": split, **values} for split, values in metrics.items()]
        self._folder.commit(module.model, optimizer, epoch, self._rows)
        self.last_epoch = epoch
        module.last_epoch = epoch, metrics["validation"]

    def resume(self, module: TrainingModule, state: TrainingState) -> None:
        """Load the model and the optimizer state of the last epoch into the module."""
        snapshot = snapshot_folder(self._folder.path, state.epoch)
        module.model.load_state_dict(load_snapshot(snapshot).state_dict())
        module.initial_optimizer_state = state.optimizer
        self._rows = state.rows
        self._folder.write_curves(state.rows)
        self.last_epoch = state.epoch
        module.last_epoch = state.epoch, {}

    def is_finished(self) -> bool:
        """Return whether all epochs are done or patience is exhausted."""
        return self.last_epoch >= self._config.epochs or is_exhausted(self._losses(), self._config.patience)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:  # type: ignore[override]
        """Set the seed and the learning rate, and open the progress bar."""
        epoch = module.epoch = self.last_epoch + 1
        module.train()
        _seed(module.device, (self._config.seed, epoch))
        rate = annealed_rate(self._config.learning_rate, self._losses(), _ANNEALING)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate
        title = f"epoch {epoch} of {self._config.epochs}, validation loss {self._losses()[-1]:.3f}"
        self._advance = self._bar.enter_context(progress(title, module.words_per_epoch()))

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance the progress bar."""
        if self._advance is not None:
            self._advance(module.count_words(batch))

    def on_train_epoch_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:  # type: ignore[override]
        """Store the epoch, and stop after the last one."""
        self._bar.close()
        self.store_epoch(module, module.epoch, trainer.optimizers[0].state_dict()["state"])
        trainer.should_stop = self.is_finished()
        module.epoch += 1

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Close the progress bar, and note whether the exception is Ctrl-C."""
        self._bar.close()
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def _losses(self) -> list[float]:
        return [row["loss"] for row in self._rows if row["split"] == "validation"]


class _EpochBatches:
    """The batches of the current epoch, as a sized iterable for Lightning."""

    def __init__(self, module: TrainingModule) -> None:
        self._module = module

    def __len__(self) -> int:
        return self._module.batch_count()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._module.batches(self._module.epoch))


def _fit(
    module: TrainingModule,
    snapshots: SnapshotCallback,
    config: TrainConfig,
    device: torch.device,
    folder: Path,
    callbacks: Sequence[pl.Callback],
) -> None:
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment

    module.epoch = snapshots.last_epoch + 1
    trainer = pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        plugins=[LightningEnvironment()],
        max_epochs=config.epochs - snapshots.last_epoch,
        gradient_clip_val=config.clip,
        callbacks=[snapshots, *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, train_dataloaders=_EpochBatches(module))
    except SystemExit:
        if not snapshots.interrupted:
            raise
        # Lightning turns Ctrl-C into an exit and ignores further ones: undo both.
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _seed(device: torch.device, entropy: tuple[int, int]) -> None:
    """Seed only the generators that dropout on this device draws from."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's hints; errors are still raised."""
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
