"""The experiment in one command: pretrain, apply, fine-tune, collect, compare; it resumes where it stopped."""

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
Say = Callable[[str], None]


@dataclass(frozen=True)
class ExperimentResult:
    """Everything an experiment made.

    Attributes:
        folder: where it lies.
        settings: what was asked for.
        stages: by name, in the order of the story: `untrained`, `epoch-01`, the epoch before the best,
            `unsup` (the best epoch on pretraining text), `zero-shot` (the same model on reviews), `sup`
            (the fine-tuned encoder on the same reviews).
        epochs: epoch of pretraining -> its stage, in order: those of the story, and others between.
        pretraining, fine_tuning: the training runs.
        tagger_accuracy: on held-out gold tags; None where tags are gold.
    """

    folder: Path
    settings: Settings
    stages: dict[str, Stage]
    epochs: dict[int, Stage]
    pretraining: TrainingRun
    fine_tuning: TrainingRun
    tagger_accuracy: float | None


def run_experiment(
    settings: Settings, sources: Sources, folder: Path | str, *, device: str = "auto", say: Say
) -> ExperimentResult:
    """Run the paper's three research questions, or go on where an earlier run stopped.

    Args:
        settings: sizes and choices.
        sources: the text.
        folder: of the experiment; a folder of another experiment is refused.
        device: `auto`, `cpu` or `cuda`.
        say: told what is being done, one line at a time.

    Returns:
        What was made; `write_results` turns it into pages.

    Raises:
        UsageError: the folder holds an experiment with other settings or text.
        CorpusError: text that is not there or cannot be read.

    Source:
        Rethmeier et al. 2020, section 3.
    """
    place = Path(folder)
    _require_text(sources)
    _claim(place, settings, sources)
    say("pretraining a language model")
    pretraining = _pretrain(settings, sources, place, device)
    say("fine-tuning it as a sentiment classifier")
    fine_tuning = _fine_tune(settings, sources, place, pretraining, device)
    best = pretraining.best_epoch
    text = sources.tagged(sources.pretraining("train").take(settings.collection_words), place)
    reviews = sources.tagged(sources.reviews("train").take(settings.collection_words), place)
    told = {0, 1, max(best - 1, 0), best} & set(pretraining.snapshots)
    epochs_trained = sorted(pretraining.snapshots)
    sampled = even_sample(len(epochs_trained), settings.timeline_epochs)
    followed = told | {epochs_trained[index] for index in sampled}
    epochs = {
        epoch: _collected(stage_name(epoch, best), pretraining.snapshots[epoch], text, place, device, say)
        for epoch in sorted(followed)
    }
    stages = {epochs[epoch].name: epochs[epoch] for epoch in sorted(told)}
    stages["zero-shot"] = _collected("zero-shot", pretraining.snapshots[best], reviews, place, device, say)
    fine_tuned = fine_tuning.snapshots[fine_tuning.best_epoch]
    stages["sup"] = _collected("sup", fine_tuned, reviews, place, device, say)
    return ExperimentResult(
        place, settings, stages, epochs, pretraining, fine_tuning, sources.tagger_accuracy(place)
    )


def stage_name(epoch: int, best: int) -> str:
    """What the stage of an epoch of pretraining is called: the best one `unsup`, epoch 0 `untrained`."""
    if epoch == best:
        return "unsup"
    return "untrained" if epoch == 0 else f"epoch-{epoch:02d}"


def _require_text(sources: Sources) -> None:
    """Open everything once, so that a wrong path is told before the folder is claimed for it."""
    for split in ("train", "validation", "test"):
        sources.pretraining(split)
        sources.reviews(split)


def _claim(place: Path, settings: Settings, sources: Sources) -> None:
    """Store the settings of the experiment in its folder, or check that they are those stored there."""
    wanted = {"settings": settings.as_json(), "sources": sources.description}
    lock = SettingsLock(place, "experiment.json", wanted, "an experiment")
    stored = json.loads(lock.path.read_text(encoding="utf-8")) if lock.is_stored() else {}
    # Settings unknown to the version that wrote the folder had no effect on its results.
    lock.require_same(stored, ignore_unknown=True)
    if stored != lock.settings:
        write_text(lock.path, json.dumps(lock.settings, indent=2) + "\n")


def _pretrain(settings: Settings, sources: Sources, place: Path, device: str) -> TrainingRun:
    from txray.training import train_language_model

    train = _limited(sources.pretraining("train"), settings.pretraining_words)
    known = train
    if settings.shared_vocabulary:
        known = train.followed_by(first_reviews(settings, sources, "train"))
    model = language_model(
        settings.cell,
        known,
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
        folder=place / "language-model",
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        bptt=settings.bptt,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
        seed=settings.seed,
        device=device,
    )


def _fine_tune(
    settings: Settings, sources: Sources, place: Path, pretraining: TrainingRun, device: str
) -> TrainingRun:
    from txray.training import train_classifier

    encoder = load_snapshot(pretraining.snapshots[pretraining.best_epoch])
    return train_classifier(
        classifier(encoder, settings.pooling, seed=settings.seed),
        *(first_reviews(settings, sources, split) for split in ("train", "validation", "test")),
        folder=place / "classifier",
        epochs=settings.classifier_epochs,
        learning_rate=settings.classifier_learning_rate,
        patience=settings.classifier_patience,
        max_length=settings.max_length,
        seed=settings.seed,
        device=device,
    )


def _collected(name: str, snapshot: Path, corpus: Corpus, place: Path, device: str, say: Say) -> Stage:
    """The stage from its folder, or collected and saved there."""
    from txray.capture import collect
    from txray.training import device_of

    folder = place / "stages" / name
    if (folder / MANIFEST).exists():
        return Stage.load(folder)
    say(f"collecting stage {name}")
    model = load_snapshot(snapshot).to(device_of(device))
    stage = collect(
        model, corpus, layers=[LAYER], feature_types=["token", "pos"], name=name, checkpoint=folder
    )
    stage.save(folder)
    return stage


def _limited(corpus: Corpus, words: int | None) -> Corpus:
    return corpus if words is None else corpus.take(words)


def first_reviews(settings: Settings, sources: Sources, split: str) -> Corpus:
    """The reviews of a split that the settings allow: `train`, `validation` or `test`."""
    allowed = {
        "train": settings.training_reviews,
        "validation": settings.validation_reviews,
        "test": settings.test_reviews,
    }[split]
    corpus = sources.reviews(split)
    return corpus if allowed is None else corpus.first(allowed)
