"""Let two models read two texts, and separate what the model changes from what the text changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from txray.analysis.decomposition import Decomposition
from txray.analysis.significance.tests import SignificanceSettings
from txray.analysis.square import distinct_names, two_names
from txray.capture.collect import collect
from txray.capture.layer import Layer, as_layers
from txray.capture.request import Engine
from txray.capture.selection import Selection
from txray.capture.source_for import source_for
from txray.corpus.corpus import Corpus
from txray.errors import UsageError
from txray.files import write_text
from txray.models.load import as_source
from txray.preferences.folds import DEFAULT_FOLDS
from txray.preferences.manifest import MANIFEST
from txray.preferences.preferences import Weight
from txray.preferences.stage import Stage
from txray.settings_lock import SettingsLock

LOCK, STAGES = "decompose.json", "stages"
"""File of the settings and folder of the stages, in the folder of a decomposition."""


def decompose(
    model_a: object,
    model_b: object,
    text_a: Corpus,
    text_b: Corpus,
    *,
    layers: str | Layer | Sequence[str | Layer] = "rnn",
    feature_types: str | Sequence[str] = "token",
    selection: Selection | str = "max-1",
    models: Sequence[str] = ("A", "B"),
    texts: Sequence[str] | None = None,
    out: Path | str | None = None,
    max_words: int | None = None,
    folds: int = DEFAULT_FOLDS,
    exemplars: int = 8,
    batch_positions: int = 16_384,
    engine: Engine | None = None,
    weight: Weight = "mean",
    permutations: int = 10_000,
    fdr: float = 0.05,
    seed: int = 0,
    min_effect: float = 0.0,
) -> Decomposition:
    """Tell whether neurons changed because the model changed or because it read another text.

    Both models read both texts. So each effect is measured with everything else equal: that of the model on either
    text, and that of the text in either model; and whether they depend on each other (the interaction).

    Args:
        model_a, model_b: before and after, with the same neurons; as for `txray.collect`.
        text_a, text_b: the two texts.
        layers: as for `txray.collect`.
        feature_types: feature types to collect; the effects are of the first one.
        selection: which activations count.
        models: names of the two models to show.
        texts: names of the two texts to show; by default those of the corpora, or a and b.
        out: folder for the four stages, in `stages`. After an interruption, the same call resumes there. Without it,
            nothing is saved.
        max_words: maximum number of words of each text.
        folds: number of disjoint groups of documents for the tests.
        exemplars: number of strongest occurrences stored per neuron.
        batch_positions: maximum number of padded positions in a batch.
        engine: carries out the collection, as for `txray.collect`.
        weight: what the preference distributions normalise.
        permutations: maximum number of permutations per neuron.
        fdr: false discovery rate within each layer and effect.
        seed: random seed.
        min_effect: corrected Hellinger distance that an effect must exceed.

    Raises:
        UsageError: names that are equal, a number out of range, or a folder with other settings.
        ShapeError: the two models do not have the same neurons.
        TxrayError: errors of `txray.collect`.

    Example:
        >>> texts = [txray.demo_corpus(name, words=1_000) for name in ("encyclopedia", "reviews")]
        >>> models = [txray.models.language_model("gru", texts[0], hidden=8, seed=seed) for seed in (0, 1)]
        >>> effects = txray.decompose(*models, *texts, permutations=20)
        >>> effects.margins["margin"].to_list()
        ['model_on_a', 'model_on_b', 'text_in_a', 'text_in_b', 'interaction']
    """
    # Before a model runs.
    SignificanceSettings(permutations=permutations, fdr=fdr, seed=seed, min_effect=min_effect)
    model_names = two_names(models, "models")
    by_default = distinct_names([text_a.name, text_b.name])
    text_names = two_names(by_default if texts is None else texts, "texts")
    corpora = [text if max_words is None else text.take_words(max_words) for text in (text_a, text_b)]
    sources = [as_source(model) for model in (model_a, model_b)]
    options: dict[str, Any] = {
        "layers": as_layers(layers),
        "feature_types": [feature_types] if isinstance(feature_types, str) else list(feature_types),
        "selection": Selection.parse(selection),
        "folds": folds,
        "exemplars": exemplars,
        "batch_positions": batch_positions,
    }
    folder = None if out is None else _Folder.open(Path(out), sources, corpora, options)
    stages = [
        _stage(source, corpus, f"{model} on {text}", folder_of_stage, options, engine)
        for (source, model), (corpus, text), folder_of_stage in zip(
            [(source, model) for source, model in zip(sources, model_names, strict=True) for _ in (0, 1)],
            [*zip(corpora, text_names, strict=True)] * 2,
            [None] * 4 if folder is None else folder.stages,
            strict=True,
        )
    ]
    return Decomposition.of(
        stages,
        feature_type=options["feature_types"][0],
        weight=weight,
        models=model_names,
        texts=text_names,
        permutations=permutations,
        fdr=fdr,
        seed=seed,
        min_effect=min_effect,
    )


def _stage(
    source: Any,
    corpus: Corpus,
    name: str,
    folder: Path | None,
    options: dict[str, Any],
    engine: Engine | None,
) -> Stage:
    """Return the stage from its folder, or collect it and save it there."""
    if folder is not None and (folder / MANIFEST).is_file():
        return Stage.load(folder)
    stage = collect(source, corpus, name=name, checkpoint=folder, engine=engine, **options)
    if folder is not None:
        stage.save(folder)
    return stage


@dataclass(frozen=True)
class _Folder:
    """The folder of a decomposition: its four stages, of the models and texts that its settings name."""

    stages: Sequence[Path]

    @classmethod
    def open(
        cls, path: Path, sources: Sequence[Any], corpora: Sequence[Corpus], options: dict[str, Any]
    ) -> _Folder:
        """Store the settings of a new folder, or check that an existing one has the same.

        Raises:
            UsageError: the folder holds other settings, or something else.
        """
        outputs = "output" in options["feature_types"]
        adapters = [source_for(source, outputs=outputs) for source in sources]
        settings = {
            "models": [adapter.identify()["fingerprint"] for adapter in adapters],
            "reading code": [adapter.fingerprint for adapter in adapters],
            "texts": [corpus.fingerprint for corpus in corpora],
            **options,
            "layers": [layer.label if isinstance(layer, Layer) else layer for layer in options["layers"]],
            "selection": str(options["selection"]),
        }
        lock = SettingsLock(path, LOCK, settings, "a decomposition", ("models", "reading code", "texts"))
        if lock.is_stored():
            try:
                stored = json.loads(lock.path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UsageError(f"{lock.path}: damaged; use another folder") from error
            lock.require_same(stored)
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_text(lock.path, json.dumps(lock.settings, indent=1) + "\n")
        return cls([path / STAGES / name for name in ("a-on-a", "a-on-b", "b-on-a", "b-on-b")])
