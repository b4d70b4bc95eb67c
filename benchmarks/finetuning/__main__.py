"""Measure what fine-tuning for sentiment changes in all-MiniLM-L6, over several trainings; writes docs/finetuning.md.

`python -m benchmarks.finetuning FOLDER`, after `benchmarks.finetuning.train`. TXRAY_DATA names the folder with `imdb`,
`wikitext-2` and `ud-ewt`. Stages and prunings lie in FOLDER/measured, so that an interrupted run resumes.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import t as student

import txray
from benchmarks.evidence.__main__ import filled
from benchmarks.models import pretrained_folder
from txray.corpus import Corpus, read_corpus
from txray.models import hugging_face
from txray.pruning import NeuronSet, prune

PAGE = Path(__file__).parents[2] / "docs" / "finetuning.md"
LAYERS = [f"encoder.layer.{number}" for number in range(6)]
COMPARED = [LAYERS[1], LAYERS[3], LAYERS[5]]
LAST_MLP = "encoder.layer.5.intermediate"
SELECTION = "threshold=2/zscore"
WINDOW = 256  # word pieces that a model reads at a time; the same for all models
WORDS = 20_000
CUT = 120  # words of a review or an article that are read
RANKED = 20  # neurons that are ablated together
SCORED = 300  # test reviews
PERMUTATIONS = 1_000

_DECOMPOSED: dict[int, txray.Decomposition] = {}


@dataclass(frozen=True)
class Trained:
    """One training: its folder, its test accuracy and the folder of what was measured."""

    seed: int
    folder: Path
    accuracy: float
    measured: Path


def cut(name: str, corpus: Corpus, *, seed: int = 0) -> Corpus:
    """Return the beginnings of randomly chosen documents, as many as there are words for."""
    documents = list(corpus)
    chosen, words = [], 0
    for number in np.random.default_rng(seed).permutation(len(documents)):
        document = documents[number].cut(CUT)
        if words + len(document.words) > WORDS:
            break
        chosen.append(document)
        words += len(document.words)
    return Corpus.from_documents(name, chosen)


def texts() -> dict[str, Corpus]:
    """Return reviews to test on, an encyclopedia, tagged text, and reviews for ranking neurons."""
    data = Path(os.environ["TXRAY_DATA"])
    return {
        "reviews": cut("reviews", read_corpus("imdb", data / "imdb", split="test")),
        "encyclopedia": cut("encyclopedia", read_corpus("wikitext", data / "wikitext-2", split="test")),
        "tagged": read_corpus("conllu", data / "ud-ewt", split="dev").take_words(WORDS),
        "training reviews": cut(
            "training reviews", read_corpus("imdb", data / "imdb", split="train"), seed=1
        ),
    }


def spread(values: Sequence[float], number: str = ".2f") -> str:
    """Return the mean over trainings with its 95% interval (Student's t)."""
    mean = float(np.mean(values))
    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:{number}} ({mean - half:{number}} to {mean + half:{number}})"


def effects(runs: Sequence[Trained], corpora: dict[str, Corpus]) -> str:
    """Return the table of what the training and the text change, layer by layer."""
    tables = [decomposed(run, corpora).margins.with_columns(seed=pl.lit(run.seed)) for run in runs]
    margins = pl.concat(tables)
    names = {
        "model_on_b": "training, on reviews",
        "model_on_a": "training, on the encyclopedia",
        "text_in_a": "text, before training",
        "text_in_b": "text, after training",
        "interaction": "interaction",
    }
    lines = [
        "| layer | effect | corrected distance of the layer | median neuron | significant neurons |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for layer in COMPARED:
        for margin, name in names.items():
            rows = margins.filter(layer=layer, margin=margin)
            share = [f"{100 * value:.0f}%" for value in rows["significant_share"].fill_null(0)]
            lines.append(
                f"| {layer.removeprefix('encoder.')} | {name} | {known(rows['hellinger_corrected'])} | "
                f"{known(rows['median_corrected'])} | {', '.join(share)} |"
            )
    return "\n".join(lines)


def known(values: pl.Series) -> str:
    """Return the mean of a column with its interval, or that it is not known."""
    return spread(values.to_list()) if values.null_count() == 0 else "cannot be estimated"


def decomposed(run: Trained, corpora: dict[str, Corpus]) -> txray.Decomposition:
    """Return the effects of one training and of the text, computed once."""
    if run.seed in _DECOMPOSED:
        return _DECOMPOSED[run.seed]
    _DECOMPOSED[run.seed] = txray.decompose(
        hugging_face(pretrained_folder(), window=WINDOW),
        hugging_face(run.folder, window=WINDOW),
        corpora["encyclopedia"],
        corpora["reviews"],
        layers=COMPARED,
        selection=SELECTION,
        models=("before", "after"),
        out=run.measured / "effects",
        batch_positions=4_096,
        permutations=PERMUTATIONS,
    )
    return _DECOMPOSED[run.seed]


def names(runs: Sequence[Trained], corpora: dict[str, Corpus]) -> str:
    """Return the neurons of the last layer that the first training changed most, with their names before and after."""
    comparison = decomposed(runs[0], corpora).comparisons[LAYERS[-1]]["model_on_b"]
    changed = comparison.changed(words=4)
    lines = ["| neuron | corrected distance | before | after |", "| ---: | ---: | --- | --- |"]
    for row in changed.head(10).iter_rows(named=True):
        low, high = row["hellinger_corrected_low"], row["hellinger_corrected_high"]
        sides = [
            ", ".join(f"`{word}`" for word in row[f"words_{side}"])
            if row[f"stable_{side}"]
            else "no stable preference"
            for side in ("before", "after")
        ]
        size = f"{row['hellinger_corrected']:.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"| {row['neuron']} | {size} | {sides[0]} | {sides[1]} |")
    for side, stage in (("before", comparison.before), ("after", comparison.after)):
        verdicts = stage.names()["verdict"].drop_nulls()
        lines.append(
            f"\n{(verdicts == 'stable').sum()} of {len(verdicts)} neurons have a stable name {side}."
        )
    return "\n".join(lines)


def ranking_stage(folder: Path, where: Path, corpus: Corpus, concepts: str) -> txray.Stage:
    """Return the stage of a model with histograms of its concepts, collected once."""
    if not (where / "manifest.json").exists():
        txray.collect(
            hugging_face(folder, window=WINDOW),
            corpus,
            name=where.name,
            layers=[LAYERS[2], LAYERS[5], LAST_MLP],
            selection=SELECTION,
            feature_types=["token", concepts],
            concepts=[concepts],
            batch_positions=4_096,
        ).save(where)
    return txray.Stage.load(where)


def concepts(runs: Sequence[Trained], corpora: dict[str, Corpus]) -> str:
    """Return the strength of the best neuron for sentiment and for some tags, before and after."""
    lines = [
        "| layer | concept | best neuron before | best neuron after | control after | neurons that changed |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    base = runs[0].measured.parent / "base"
    for corpus, feature_type, features in (
        ("reviews", "label", ("pos",)),
        ("tagged", "pos", ("NN", "VBZ", "JJ")),
    ):
        before = ranking_stage(pretrained_folder(), base / feature_type, corpora[corpus], feature_type)
        after = [
            ranking_stage(run.folder, run.measured / feature_type, corpora[corpus], feature_type)
            for run in runs
        ]
        for layer in (LAYERS[2], LAYERS[5], LAST_MLP):
            first = txray.rank_neurons(before, layer=layer, feature_type=feature_type, feature=features)
            later = [
                txray.rank_neurons(stage, layer=layer, feature_type=feature_type, feature=features)
                for stage in after
            ]
            shifts = [first.compare(ranking).concepts for ranking in later]
            for feature in features:
                best = [ranking.top(feature, 1) for ranking in later]
                start = first.top(feature, 1)
                changed = [shift.filter(feature=feature)["changed"].item() for shift in shifts]
                name = "positive review" if feature_type == "label" else feature
                lines.append(
                    f"| {layer.removeprefix('encoder.')} | {name} | "
                    f"{start['strength'].item():.2f} | {spread([row['strength'].item() for row in best])} | "
                    f"{spread([row['control'].item() for row in best])} | {', '.join(map(str, changed))} |"
                )
    return "\n".join(lines)


def ablations(runs: Sequence[Trained], corpora: dict[str, Corpus]) -> str:
    """Return what the ablation of the best neurons for a concept does to the classifier, beside random sets."""
    tables = [ablated(run, layer, corpora) for layer in (LAST_MLP, LAYERS[-1]) for run in runs]
    lines = [
        "| layer | set | metric | unpruned | change | against random sets | p-values (rank among 200) |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for (layer, name, metric), rows in pl.concat(tables).group_by(
        "layer", "set", "metric", maintain_order=True
    ):
        if metric in ("f1", "auroc"):
            p_values = ", ".join(f"{value:.3g}" for value in rows["random_p_value"])
            lines.append(
                f"| {str(layer).removeprefix('encoder.')} | {name} | {metric} | "
                f"{spread((100 * rows['unpruned']).to_list(), '.1f')} | "
                f"{spread((100 * rows['change']).to_list(), '.2f')} | "
                f"{spread((100 * rows['versus_random']).to_list(), '.2f')} | {p_values} |"
            )
    return "\n".join(lines)


def ablated(run: Trained, layer: str, corpora: dict[str, Corpus]) -> pl.DataFrame:
    """Return the effects of ablating the best neurons of a layer for sentiment and two tags, ranked on other text."""
    sets = []
    for feature_type, corpus, feature in (
        ("label", "training reviews", "pos"),
        ("pos", "tagged", "NN"),
        ("pos", "tagged", "JJ"),
    ):
        folder = run.measured / f"ranking-{feature_type}"
        stage = ranking_stage(run.folder, folder, corpora[corpus], feature_type)
        ranking = txray.rank_neurons(stage, layer=layer, feature_type=feature_type, feature=feature)
        neurons = tuple(ranking.top(feature, RANKED)["neuron"].to_list())
        name = "positive review" if feature_type == "label" else feature
        sets.append(NeuronSet(f"best {RANKED} for {name}", layer, neurons))
    pruning = prune(
        hugging_face(run.folder, window=WINDOW, head=True),
        sets,
        {"test": read_corpus("imdb", Path(os.environ["TXRAY_DATA"]) / "imdb", split="test")},
        max_documents=SCORED,
        max_length=CUT,
        folder=run.measured / ("pruning" if layer == LAST_MLP else "pruning-residual"),
    )
    return pruning.effects


TABLES: dict[str, Callable[[Sequence[Trained], dict[str, Corpus]], str]] = {
    "effects": effects,
    "names": names,
    "concepts": concepts,
    "ablations": ablations,
}


def main(folder: Path, chosen: Sequence[str]) -> None:
    """Measure the tables, or those named; each replaces the text between its two marks."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    runs = []
    for file in sorted(folder.glob("seed-*/training.json")):
        accuracy, seed = (json.loads(file.read_text())[name] for name in ("accuracy", "seed"))
        runs.append(Trained(seed, file.parent, accuracy, folder / "measured" / file.parent.name))
    if not runs:
        raise SystemExit(
            f"{folder}: no classifiers; run python -m benchmarks.finetuning.train {folder} first"
        )
    print("test accuracy:", ", ".join(f"seed {run.seed}: {run.accuracy:.1%}" for run in runs))
    corpora = texts()
    for name in chosen or TABLES:
        table = TABLES[name](runs, corpora)
        print(f"\n{name}\n{table}", flush=True)
        PAGE.write_text(filled(PAGE.read_text(), name, table))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
