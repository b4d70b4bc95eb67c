"""The steps of the experiment: pretrain, fine-tune, and collect stages; an interrupted run resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from txray.corpus import Corpus
from txray.experiment.settings import Settings
from txray.experiment.sources import Sources
from txray.files import write_text
from txray.models import classifier, language_model, load_snapshot
from txray.preferences import Stage
from txray.preferences.manifest import MANIFEST
from txray.sampling import even_sample
from txray.settings_lock import SettingsLock
from txray.training.run import TrainingRun

LAYER = "rnn"
Log = Callable[[str], None]
"""Receives one-line progress messages."""


@dataclass(frozen=True)
class ExperimentResult:
    """Stages and trainings of an experiment.

    Attributes:
        folder: folder of the experiment.
        settings: its settings.
        stages: stages by name, in order: `untrained`, `epoch-01`, the epoch before the best,
            `unsup` (the best epoch on pretraining text), `zero-shot` (the same model on reviews), `sup`
            (the fine-tuned encoder on the same reviews).
        epochs: epoch of pretraining -> its stage, in order: those of `stages`, and others between them.
        pretraining, fine_tuning: the training runs.
        tagger_accuracy: accuracy of the tagger on held-out text; None if the tags are gold.
    """

    folder: Path
    settings: Settings
    stages: dict[str, Stage]
    epochs: dict[int, Stage]
    pretraining: TrainingRun
    fine_tuning: TrainingRun
    tagger_accuracy: float | None


def run_experiment(
    settings: Settings, sources: Sources, folder: Path | str, *, device: str = "auto", log: Log
) -> ExperimentResult:
    """Train the models and collect the stages of the paper's three research questions; resumes an earlier run.

    Args:
        settings: settings of the experiment.
        sources: sources of the text.
        folder: folder of the experiment; that of another experiment is refused.
        device: `auto`, `cpu` or `cuda`.
        log: receives one-line progress messages.

    Returns:
        Stages and trainings; `write_results` writes tables, figures and the report.

    Raises:
        UsageError: the folder holds an experiment with other settings or text.
        CorpusError: text that is missing or cannot be read.

    Source:
        Rethmeier et al. 2020, section 3.
    """
    folder = Path(folder)
    _require_text(sources)
    _lock(folder, settings, sources)
    log("pretraining a language model")
    pretraining = _pretrain(settings, sources, folder, device)
    log("fine-tuning it as a sentiment classifier")
    fine_tuning = _fine_tune(settings, sources, folder, pretraining, device)
    best = pretraining.best_epoch
    text = sources.tagged(sources.pretraining("train").take_words(settings.collection_words), folder)
    reviews = sources.tagged(sources.reviews("train").take_words(settings.collection_words), folder)
    compared = {0, 1, max(best - 1, 0), best} & set(pretraining.snapshots)
    trained = sorted(pretraining.snapshots)
    sampled = even_sample(len(trained), settings.timeline_epochs)
    followed = compared | {trained[index] for index in sampled}
    epochs = {
        epoch: _stage(stage_name(epoch, best), pretraining.snapshots[epoch], text, folder, device, log)
        for epoch in sorted(followed)
    }
    stages = {epochs[epoch].name: epochs[epoch] for epoch in sorted(compared)}
    stages["zero-shot"] = _stage("zero-shot", pretraining.snapshots[best], reviews, folder, device, log)
    fine_tuned = fine_tuning.snapshots[fine_tuning.best_epoch]
    stages["sup"] = _stage("sup", fine_tuned, reviews, folder, device, log)
    return ExperimentResult(
        folder, settings, stages, epochs, pretraining, fine_tuning, sources.tagger_accuracy(folder)
    )


def stage_name(epoch: int, best: int) -> str:
    """Return the name of the stage of an epoch of pretraining: the best is `unsup`, epoch 0 is `untrained`."""
    if epoch == best:
        return "unsup"
    return "untrained" if epoch == 0 else f"epoch-{epoch:02d}"


def _require_text(sources: Sources) -> None:
    """Open all text, so that a wrong path is reported before the folder stores it in its settings."""
    for split in ("train", "validation", "test"):
        sources.pretraining(split)
        sources.reviews(split)


def _lock(folder: Path, settings: Settings, sources: Sources) -> None:
    """Store the settings of the experiment in its folder, or check that they are those stored there."""
    wanted = {"settings": settings.as_json(), "sources": sources.description}
    lock = SettingsLock(folder, "experiment.json", wanted, "an experiment")
    stored = json.loads(lock.path.read_text(encoding="utf-8")) if lock.is_stored() else {}
    # Settings unknown to the version that wrote the folder had no effect on its results.
    lock.require_same(stored, ignore_unknown=True)
    if stored != lock.settings:
        write_text(lock.path, json.dumps(lock.settings, indent=2) + "\n")


def _pretrain(settings: Settings, sources: Sources, folder: Path, device: str) -> TrainingRun:
    from txray.training import train_language_model

    train = _limited(sources.pretraining("train"), settings.pretraining_words)
    vocabulary_text = train
    if settings.shared_vocabulary:
        vocabulary_text = train.concat(first_reviews(settings, sources, "train"))
    model = language_model(
        settings.cell,
        vocabulary_text,
        embedding=settings.embedding,
        hidden=settings.hidden,
        dropout=settings.dropout,
        vocabulary_size=settings.vocabulary_size,
        seed=settings.seed,
    )
    return train_language_model(
        model,
        train,
        _limited(sources.pretraining("validation"), settings.evaluation_words),
        _limited(sources.pretraining("test"), settings.evaluation_words),
        folder=folder / "language-model",
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        bptt=settings.bptt,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
        seed=settings.seed,
        device=device,
    )


def _fine_tune(
    settings: Settings, sources: Sources, folder: Path, pretraining: TrainingRun, device: str
) -> TrainingRun:
    from txray.training import train_classifier

    encoder = load_snapshot(pretraining.snapshots[pretraining.best_epoch])
    return train_classifier(
        classifier(encoder, settings.pooling, seed=settings.seed),
        *(first_reviews(settings, sources, split) for split in ("train", "validation", "test")),
        folder=folder / "classifier",
        epochs=settings.classifier_epochs,
        learning_rate=settings.classifier_learning_rate,
        patience=settings.classifier_patience,
        max_length=settings.max_length,
        seed=settings.seed,
        device=device,
    )


def _stage(name: str, snapshot: Path, corpus: Corpus, folder: Path, device: str, log: Log) -> Stage:
    """Return the stage from its folder, or collect it and save it there."""
    from txray.capture import collect
    from txray.training import device_of

    stage_folder = folder / "stages" / name
    if (stage_folder / MANIFEST).exists():
        return Stage.load(stage_folder)
    log(f"collecting stage {name}")
    model = load_snapshot(snapshot).to(device_of(device))
    stage = collect(
        model, corpus, layers=[LAYER], feature_types=["token", "pos"], name=name, checkpoint=stage_folder
    )
    stage.save(stage_folder)
    return stage


def _limited(corpus: Corpus, words: int | None) -> Corpus:
    return corpus if words is None else corpus.take_words(words)


def first_reviews(settings: Settings, sources: Sources, split: str) -> Corpus:
    """Return the reviews of a split (`train`, `validation` or `test`) within the limit of the settings."""
    allowed = {
        "train": settings.training_reviews,
        "validation": settings.validation_reviews,
        "test": settings.test_reviews,
    }[split]
    corpus = sources.reviews(split)
    return corpus if allowed is None else corpus.head(allowed)
