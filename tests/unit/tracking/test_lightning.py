"""The callback inside real trainings by Lightning, those of txray among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import txray
from tests.builders.tracking import FAST, TEXT, same, spec, untrained
from txray.models import classifier
from txray.tracking import CollectSpec, LightningCallback, replay
from txray.training import train_classifier, train_language_model

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning")


class Learner(pl.LightningModule):
    """Somebody's own module."""

    def __init__(self) -> None:
        super().__init__()
        self.model = untrained()

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        ids = batch[0]
        outputs, _ = self.model.hidden_states(ids, None)
        scores = self.model.decoder(self.model.dropout(outputs[:, :-1]))
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.02)


def trained(out: Path, *callbacks: pl.Callback, checkpoint: Path | None = None, **options: Any) -> Learner:
    """Two epochs of five batches."""
    pl.seed_everything(4, verbose=False)
    learner = Learner()
    ids = torch.randint(0, len(learner.model.vocabulary), (20, 10))
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(ids), batch_size=4, shuffle=True)
    trainer = pl.Trainer(
        default_root_dir=out,
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"enable_checkpointing": any(isinstance(each, ModelCheckpoint) for each in callbacks), **options},
    )
    trainer.fit(learner, batches, ckpt_path=checkpoint)
    return learner


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_training_is_bit_identical_and_its_story_the_replayed_one(unit: Any, tmp_path: Path) -> None:
    bare = trained(tmp_path / "bare")
    drawn = torch.rand(1)
    every = {"epoch": {"every_n_epochs": 1}, "step": {"every_n_train_steps": 3}}[unit]
    saved = ModelCheckpoint(tmp_path / "saved", filename="{step}", save_top_k=-1, **every)
    callback = LightningCallback(
        spec(), tmp_path / "live", every=3 if unit == "step" else 1, unit=unit, **FAST
    )
    watched = trained(tmp_path / "watched", callback, saved)
    assert torch.equal(torch.rand(1), drawn)
    assert all(map(torch.equal, bare.state_dict().values(), watched.state_dict().values()))
    replayed = replay([tmp_path / "saved"], spec(), tmp_path / "replayed", unit=unit, base=untrained, **FAST)
    live = callback.timelines["token"]
    assert live.names == (
        ["epoch-000", "epoch-001", "epoch-002"]
        if unit == "epoch"
        else ["step-000000", "step-000003", "step-000006", "step-000009", "step-000010"]
    )
    told = replayed["token"]
    assert set(told.names) == set(live.names) - {"epoch-000", "step-000000", "step-000010"}
    for one, other in zip(told.steps["rnn"], live.steps["rnn"][1:], strict=False):
        assert one.neurons.equals(other.neurons)
    assert live.stages["loss"].null_count() <= 2


def test_gradients_added_up_count_as_one_step(tmp_path: Path) -> None:
    callback = LightningCallback(spec(), tmp_path / "live", every=2, unit="step", **FAST)
    trained(tmp_path / "run", callback, accumulate_grad_batches=2)
    assert [folder.name for folder in callback.tracker.stages] == [
        f"step-{step:06d}" for step in (0, 2, 4, 6)
    ]


@pytest.mark.parametrize("at", [5, 7])
def test_a_training_that_goes_on_within_an_epoch_leaves_the_looks_before_it(at: int, tmp_path: Path) -> None:
    whole = LightningCallback(spec(), tmp_path / "whole", **FAST)
    trained(tmp_path / "a", whole)

    class Stops(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == 8:
                raise KeyboardInterrupt

    kept = ModelCheckpoint(dirpath=tmp_path / "kept", every_n_train_steps=at, filename="{step}")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained(tmp_path / "b", LightningCallback(spec(), tmp_path / "parts", **FAST), Stops(), kept)
    before = (tmp_path / "parts" / "stages" / "epoch-001" / "manifest.json").read_bytes()
    rest = LightningCallback(spec(), tmp_path / "parts", **FAST)
    trained(tmp_path / "b", rest, checkpoint=tmp_path / "kept" / f"step={at}.ckpt")
    assert rest.timelines["token"].names == ["epoch-000", "epoch-001", "epoch-002"]
    assert (tmp_path / "parts" / "stages" / "epoch-001" / "manifest.json").read_bytes() == before


def test_trainings_of_txray_take_it(tmp_path: Path) -> None:
    heard = txray.demo_corpus("encyclopedia", words=1_500, split="validation")
    asked = CollectSpec(heard, ["rnn"], ["token", "pos"])
    settings: dict[str, Any] = {"batch_size": 8, "device": "cpu"}
    bare = train_language_model(untrained(), TEXT, heard, folder=tmp_path / "bare", epochs=2, **settings)
    callback = LightningCallback(asked, tmp_path / "live", **FAST)
    watched = train_language_model(
        untrained(), TEXT, heard, folder=tmp_path / "run", epochs=2, callbacks=[callback], **settings
    )
    for epoch, folder in bare.snapshots.items():
        for file in folder.iterdir():
            assert file.read_bytes() == (watched.snapshots[epoch] / file.name).read_bytes()
    assert bare.curves.equals(watched.curves)
    assert callback.timelines["token"].scores == ("loss", "perplexity")
    assert same(replay([tmp_path / "run"], asked, tmp_path / "replayed", **FAST), callback.timelines)
    again = replay(list(watched.snapshots.values()), asked, tmp_path / "by-epoch", **FAST)
    assert same(again, callback.timelines)
    # With more epochs both go on.
    more = LightningCallback(asked, tmp_path / "live", **FAST)
    train_language_model(
        untrained(), TEXT, heard, folder=tmp_path / "run", epochs=3, callbacks=[more], **settings
    )
    assert same(replay([tmp_path / "run"], asked, tmp_path / "replayed", **FAST), more.timelines)
    assert more.timelines["token"].names[-1] == "epoch-003"


def test_so_does_the_training_of_classifiers(tmp_path: Path) -> None:
    reviews = txray.demo_corpus("reviews", words=2_000)
    callback = LightningCallback(CollectSpec(reviews, ["rnn"]), tmp_path / "live", **FAST)
    train_classifier(
        classifier(untrained(), "last", seed=0),
        reviews,
        reviews,
        folder=tmp_path / "run",
        epochs=1,
        device="cpu",
        callbacks=[callback],
    )
    assert callback.timelines["token"].names == ["epoch-000", "epoch-001"]
    assert "accuracy" in callback.timelines["token"].scores
