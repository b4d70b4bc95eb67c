from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.builders.training_texts import RING, VOCABULARY, bytes_of, model, ring
from txray.corpus.corpus import Corpus
from txray.corpus.document import Document
from txray.errors import SnapshotError, TxrayError, UnknownNameError, UsageError
from txray.models import RecurrentLanguageModel, load_model, snapshot_metadata
from txray.models.fingerprint import model_fingerprint
from txray.training import TrainingRun, language_model_loss, load_run, train_language_model
from txray.training.language_model import _LanguageModelModule
from txray.training.stream import TokenStream

TRAIN, VALIDATION, TEST = ring("train", 60, 0), ring("validation", 8, 1), ring("test", 8, 2)


def train(folder: Path, **options: Any) -> TrainingRun:
    settings = {"epochs": 3, "batch_size": 4, "bptt": 10, "learning_rate": 0.02, "device": "cpu", **options}
    return train_language_model(model(), TRAIN, VALIDATION, TEST, folder=folder, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return train(tmp_path_factory.mktemp("lm") / "run", epochs=8)


def loss_by_loops(trained: RecurrentLanguageModel, streams: list[list[int]]) -> float:
    """Nats per predicted word, one word at a time, the softmax written out in numpy."""
    nats = []
    for ids in streams:
        state = None
        for word, following in pairwise(ids):
            with torch.no_grad():
                outputs, state = trained.hidden_states(torch.tensor([[word]]), state)
            hidden = outputs[0, 0].numpy().astype(np.float64)
            weight = trained.decoder.weight.detach().numpy().astype(np.float64)
            logits = weight @ hidden + trained.decoder.bias.detach().numpy()
            nats.append(np.log(np.sum(np.exp(logits))) - logits[following])
    return float(np.mean(nats))


def stream_of(corpus: Corpus) -> list[int]:
    ids = [1]
    for document in corpus:
        ids += [VOCABULARY.words.index(word) for word in document.words] + [1]
    return ids


def test_curves_and_snapshots_cover_every_epoch_and_split(finished: TrainingRun) -> None:
    assert finished.curves.columns == ["epoch", "split", "loss", "perplexity"]
    assert finished.curves.select("epoch", "split").rows() == [
        (epoch, split) for epoch in range(9) for split in ("train", "validation", "test")
    ]
    assert finished.curves["perplexity"].to_list() == pytest.approx(
        [math.exp(x) for x in finished.curves["loss"]]
    )
    assert {epoch: path.name for epoch, path in finished.snapshots.items()} == {
        epoch: f"epoch-{epoch:03d}" for epoch in range(9)
    }
    for epoch, path in finished.snapshots.items():
        assert snapshot_metadata(path)["epoch"] == epoch
    prints = {model_fingerprint(load_model(path)) for path in finished.snapshots.values()}
    assert len(prints) == 9
    assert pl.read_parquet(finished.folder / "curves.parquet").equals(finished.curves)


def test_epoch_0_is_the_untrained_model(finished: TrainingRun) -> None:
    assert model_fingerprint(load_model(finished.snapshots[0])) == model_fingerprint(model())


@pytest.mark.parametrize("epoch", [0, 4])
def test_losses_are_those_of_plain_loops(finished: TrainingRun, epoch: int) -> None:
    snapshot = load_model(finished.snapshots[epoch])
    assert isinstance(snapshot, RecurrentLanguageModel)
    validation = stream_of(VALIDATION)
    expected = {
        "train": loss_by_loops(snapshot, [stream_of(TRAIN)[: len(validation)]]),
        "validation": loss_by_loops(snapshot, [validation]),
        "test": loss_by_loops(snapshot, [stream_of(TEST)]),
    }
    found = finished.curves.filter(pl.col("epoch") == epoch)
    assert dict(found.select("split", "loss").iter_rows()) == pytest.approx(expected, rel=1e-5)
    assert language_model_loss(snapshot, TEST) == pytest.approx(expected["test"], rel=1e-5)


def test_a_long_text_is_evaluated_in_rows_that_leave_nothing_out(finished: TrainingRun) -> None:
    snapshot = load_model(finished.snapshots[2])
    assert isinstance(snapshot, RecurrentLanguageModel)
    text = ring("long", 130, 3)
    ids = stream_of(text)
    assert 2000 < len(ids) < 3000, "two rows"
    half = -(-(len(ids) - 1) // 2)
    expected = loss_by_loops(snapshot, [ids[: half + 1], ids[half:]])
    assert language_model_loss(snapshot, text) == pytest.approx(expected, rel=1e-5)


def test_scoring_ignores_dropout_and_leaves_the_mode(finished: TrainingRun) -> None:
    snapshot = load_model(finished.snapshots[1])
    assert isinstance(snapshot, RecurrentLanguageModel)
    applied = language_model_loss(snapshot, TEST)
    assert not snapshot.training
    assert language_model_loss(snapshot.train(), TEST) == applied
    assert snapshot.training


def test_learns_what_follows_what(finished: TrainingRun) -> None:
    entropy_of_single_words = math.log(len(RING))
    loss = finished.curves.filter(split="validation").sort("epoch")["loss"].to_list()
    assert loss[0] > entropy_of_single_words
    assert loss[-1] < 0.4 * entropy_of_single_words
    assert finished.best_epoch == loss.index(min(loss))


def test_facts_tell_about_the_text(finished: TrainingRun) -> None:
    words = [word for document in TRAIN for word in document.words]
    assert finished.facts["train"] == {"words": len(words), "documents": 60, "unknown_share": 0.0}
    known = len(words) - words.count("c")
    texts = [
        Document(document.id, tuple("zz" if w == "c" else w for w in document.words)) for document in TRAIN
    ]
    stream = TokenStream.of(Corpus.from_documents("z", texts), VOCABULARY)
    assert stream.words - stream.unknown == known


def test_windows_carry_the_state_on_and_epochs_start_afresh() -> None:
    start = model(dropout=0.0)
    streams = {
        split: TokenStream.of(text, VOCABULARY) for split, text in (("train", TRAIN), ("validation", TEST))
    }
    module = _LanguageModelModule(start, streams, batch_size=3, bptt=7, learning_rate=0.1)
    windows = list(module.batches(1))
    ids = torch.cat([inputs for inputs, _ in windows], dim=1)
    targets = torch.cat([targets for _, targets in windows], dim=1)
    with torch.no_grad():
        logits, _ = start(ids[:, :21])
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets[:, :21], reduction="none")
    for _epoch in range(2):
        module.on_train_epoch_start()
        losses = [module.training_step(window, 0) for window in windows[:3]]
        torch.testing.assert_close(torch.stack(losses).detach(), expected.view(3, 3, 7).mean(dim=(0, 2)))
    losses[2].backward()  # would fail if it reached into the second window, which is detached
    assert start.rnn.weight_hh_l0.grad is not None


def test_the_decoder_learns_from_outputs_after_dropout() -> None:
    start = model(dropout=0.5).train()
    streams = {"train": TokenStream.of(TRAIN, VOCABULARY), "validation": TokenStream.of(TEST, VOCABULARY)}
    module = _LanguageModelModule(start, streams, batch_size=3, bptt=7, learning_rate=0.1)
    inputs, targets = next(iter(module.batches(1)))
    thinned: list[torch.Tensor] = []
    start.dropout.register_forward_hook(lambda module, given, result: thinned.append(result.detach()))
    loss = module.training_step((inputs, targets), 0)
    embedded, outputs = thinned
    assert (embedded.shape[-1], outputs.shape[-1]) == (6, 8)
    expected = torch.nn.functional.cross_entropy(start.decoder(outputs).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, expected)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        squares = [parameter.grad.square().sum() for parameter in optimizer.param_groups[0]["params"]]
        norms.append(math.sqrt(sum(squares)))

    handle = register_optimizer_step_post_hook(note)
    try:
        train(tmp_path / "loose", epochs=1, clip=1e6)
        loose, norms = norms, []
        train(tmp_path / "tight", epochs=1, clip=0.01)
    finally:
        handle.remove()
    assert max(loose) > 0.1
    assert max(norms) <= 0.01 * (1 + 1e-4)


def test_the_rate_falls_when_an_epoch_brings_nothing(tmp_path: Path) -> None:
    rates: list[float] = []
    handle = register_optimizer_step_post_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    backwards = ring("backwards", 8, 4, step=-1)
    try:
        run = train_language_model(
            model(),
            TRAIN,
            backwards,
            folder=tmp_path / "run",
            epochs=6,
            batch_size=4,
            bptt=10,
            learning_rate=0.02,
        )
    finally:
        handle.remove()
    losses = run.curves.filter(split="validation").sort("epoch")["loss"].to_list()
    rate, expected = 0.02, []
    for epoch in range(1, 7):
        expected.append(rate)
        if losses[epoch] >= min(losses[:epoch]):
            rate /= 4
    assert rate < 0.02, "the text was chosen so that some epochs bring nothing"
    steps = len(rates) // 6
    assert rates[::steps] == pytest.approx(expected)
    assert len(set(rates)) == len(set(expected))


def test_patience_stops_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    backwards = ring("backwards", 8, 4, step=-1)
    run = train_language_model(
        model(),
        TRAIN,
        backwards,
        folder=tmp_path / "run",
        epochs=30,
        patience=2,
        batch_size=4,
        bptt=10,
        learning_rate=0.02,
        device="cpu",
    )
    losses = run.curves.filter(split="validation").sort("epoch")["loss"].to_list()
    best = losses.index(min(losses))
    assert run.best_epoch == best
    assert len(losses) - 1 == best + 2 < 30
    assert run.snapshots[best].is_dir()
    before = bytes_of(run.folder)
    again = train_language_model(
        model(),
        TRAIN,
        backwards,
        folder=tmp_path / "run",
        epochs=40,
        patience=2,
        batch_size=4,
        bptt=10,
        learning_rate=0.02,
        device="cpu",
    )
    assert again.curves.equals(run.curves)
    assert bytes_of(run.folder) == before


def test_same_seed_same_bytes_other_seed_other_weights(tmp_path: Path, finished: TrainingRun) -> None:
    torch.manual_seed(99)
    one, other = train(tmp_path / "one"), train(tmp_path / "other", seed=1)
    for epoch in range(4):
        assert bytes_of(one.snapshots[epoch]) == bytes_of(finished.snapshots[epoch])
    assert model_fingerprint(load_model(one.snapshots[1])) != model_fingerprint(
        load_model(other.snapshots[1])
    )


def test_leaves_model_random_state_and_other_folders_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    start = model()
    before, state = model_fingerprint(start), torch.get_rng_state()
    train_language_model(start, TRAIN, VALIDATION, folder=tmp_path / "run", epochs=1, device="cpu")
    assert model_fingerprint(start) == before
    assert not start.training
    assert torch.equal(torch.get_rng_state(), state)
    assert list((tmp_path / "here").iterdir()) == []
    names = {"curves.parquet", "epoch-000", "epoch-001", "run.json", "state.safetensors"}
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == names


def test_is_one_process_also_within_a_cluster_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: TrainingRun
) -> None:
    for name, value in (
        ("NTASKS", "4"),
        ("JOB_NAME", "job"),
        ("JOB_ID", "7"),
        ("PROCID", "2"),
        ("LOCALID", "2"),
    ):
        monkeypatch.setenv(f"SLURM_{name}", value)
    run = train(tmp_path / "run", epochs=1)
    assert bytes_of(run.snapshots[1]) == bytes_of(finished.snapshots[1])


def test_more_epochs_go_on_from_a_finished_run(tmp_path: Path, finished: TrainingRun) -> None:
    train(tmp_path / "run", epochs=2)
    train(tmp_path / "run", epochs=8)
    assert bytes_of(tmp_path / "run") == bytes_of(finished.folder)


def test_refuses_fewer_epochs_than_there_are(finished: TrainingRun) -> None:
    with pytest.raises(UsageError, match=r"has 8 epochs already \(requested: 7\)"):
        train(finished.folder, epochs=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bptt": 11}, r"bptt=10 \(requested: 11\)"),
        ({"batch_size": 5}, "batch_size=4"),
        ({"learning_rate": 0.5}, "learning_rate=0.02"),
        ({"clip": 9.0}, r"clip=0.25 \(requested: 9.0\)"),
        ({"seed": 7}, "seed=0"),
        ({"patience": 3}, "patience=None"),
    ],
)
def test_refuses_a_folder_with_other_settings(
    finished: TrainingRun, changes: dict[str, Any], message: str
) -> None:
    before = bytes_of(finished.folder)
    with pytest.raises(UsageError, match=message):
        train(finished.folder, epochs=8, **changes)
    assert bytes_of(finished.folder) == before


def test_refuses_a_folder_with_other_text_or_another_model(finished: TrainingRun) -> None:
    settings: dict[str, Any] = {
        "epochs": 8,
        "batch_size": 4,
        "bptt": 10,
        "learning_rate": 0.02,
        "device": "cpu",
    }
    with pytest.raises(UsageError, match="differs in text.test"):
        train_language_model(model(), TRAIN, VALIDATION, VALIDATION, folder=finished.folder, **settings)
    with pytest.raises(UsageError, match="differs in text.test"):
        train_language_model(model(), TRAIN, VALIDATION, folder=finished.folder, **settings)
    with pytest.raises(UsageError, match="differs in weights"):
        train_language_model(model(seed=1), TRAIN, VALIDATION, TEST, folder=finished.folder, **settings)


def test_refuses_a_folder_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="does not hold a training"):
        train(tmp_path)
    with pytest.raises(UsageError, match="does not hold a training"):
        train(tmp_path / "thesis.tex")
    assert bytes_of(tmp_path) == {"thesis.tex": b"x"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"bptt": 0}, "bptt=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"clip": -1.0}, "clip=-1.0"),
        ({"patience": 0}, "patience=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_refuses_numbers_that_cannot_be(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_refuses_devices_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="'cuda': torch finds no CUDA device"):
        train(tmp_path / "run", device="cuda")
    with pytest.raises(UnknownNameError, match="unknown device 'gpu'.*auto, cpu, cuda"):
        train(tmp_path / "run", device="gpu")
    assert not (tmp_path / "run").exists()


def test_says_when_the_loss_is_no_longer_a_number(tmp_path: Path) -> None:
    start = model()
    with torch.no_grad():
        start.decoder.bias[3] = torch.nan
    with pytest.raises(TxrayError, match="no longer a number after epoch 0; lower the learning rate"):
        train_language_model(start, TRAIN, VALIDATION, folder=tmp_path / "run", epochs=1, device="cpu")
    assert not (tmp_path / "run" / "epoch-000").exists()


def test_load_run_gives_what_training_gave(finished: TrainingRun) -> None:
    run = load_run(str(finished.folder))
    assert run.curves.equals(finished.curves)
    assert (run.snapshots, run.best_epoch, run.facts) == (
        finished.snapshots,
        finished.best_epoch,
        finished.facts,
    )
    assert run.settings["bptt"] == 10
    assert run.settings["kind"] == "language-model"


def test_load_run_names_what_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"run\.json: no such file"):
        load_run(tmp_path)
    folder = train(tmp_path / "run", epochs=1).folder
    (folder / "curves.parquet").write_bytes(b"PAR1")
    with pytest.raises(SnapshotError, match=r"curves\.parquet: damaged"):
        load_run(folder)
    (folder / "curves.parquet").unlink()
    with pytest.raises(SnapshotError, match=r"curves\.parquet: no such file; no epoch"):
        load_run(folder)
    (folder / "run.json").write_text("{}")
    with pytest.raises(SnapshotError, match=r"run\.json: damaged"):
        load_run(folder)
    (folder / "run.json").write_text('{"format": 9, "settings": {}, "facts": {}}')
    with pytest.raises(SnapshotError, match=r"run\.json: format 9"):
        load_run(folder)


@pytest.mark.parametrize("content", [b"", b"x" * 100])
def test_going_on_from_a_damaged_state_says_so(tmp_path: Path, content: bytes) -> None:
    folder = train(tmp_path / "run", epochs=1).folder
    (folder / "state.safetensors").write_bytes(content)
    with pytest.raises(SnapshotError, match=r"state\.safetensors: damaged: .*; remove") as caught:
        train(folder, epochs=2)
    assert "\n" not in str(caught.value)
