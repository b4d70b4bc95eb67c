"""The reference pages agree with the code: columns of all results, glossary, and the contributor's page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

import txray
from tests.builders.writing_stages import writing_stages
from txray.analysis import Comparison
from txray.capture import smallest_set
from txray.capture.layer_similarity import layer_similarity
from txray.models import classifier, language_model
from txray.preferences import Stage
from txray.pruning import Advice, Pruning, advise, evaluator, paper_sets, pool_runs, prune

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "txray"
TYPES = {
    pl.Int64: "integer",
    pl.Float64: "number",
    pl.String: "text",
    pl.Boolean: "true/false",
    pl.Enum: "category",
}


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    text = txray.demo_corpus("encyclopedia", words=3_000)
    models = [language_model("lstm", text, embedding=8, hidden=12, seed=seed) for seed in (0, 1)]
    return [
        txray.collect(
            model,
            text,
            layers=["rnn"],
            feature_types=["token", "pos"],
            selection="max-1/zscore",
            name=f"s{number}",
            concepts="pos",
        )
        for number, model in enumerate(models)
    ]


@pytest.fixture(scope="module")
def comparison(stages: list[Stage]) -> Comparison:
    return txray.compare(*stages, permutations=20)


@pytest.fixture(scope="module")
def tables(stages: list[Stage], comparison: Comparison) -> dict[str, pl.DataFrame]:
    """Every table of a result, as the page names it."""
    scores = pl.DataFrame({"stage": ["s0", "s1"], "perplexity": [3.0, 2.0]})
    timeline = txray.timeline(stages, scores=scores, permutations=20)
    text = txray.demo_corpus("reviews", words=1_500)
    models = [language_model("lstm", text, embedding=6, hidden=12, seed=seed) for seed in (0, 1)]
    prunings = [pruned(seed, comparison) for seed in (0, 1)]
    rankings = [txray.rank_neurons(stage) for stage in stages]
    shift = rankings[0].compare(rankings[1])
    effects = txray.Decomposition.of([stages[0], stages[0], stages[1], stages[1]], permutations=20)
    similarity = layer_similarity(*models, text, layers=["rnn"], max_words=300)
    return {
        "Preferences.table": stages[0].preferences().table(),
        "Preferences.names": stages[0].preferences().names(),
        "Stage.exemplars": stages[0].exemplars,
        "Stage.output_tokens": writing_stages()[0].output_tokens,
        "Stage.output_agreement": writing_stages()[0].output_agreement(),
        "Comparison.neurons": comparison.neurons,
        "Comparison.summary": pl.DataFrame([dict(comparison.summary)]),
        **{
            f"Timeline.{name}": getattr(timeline, name)
            for name in ("stages", "changes", "flows", "distances")
        },
        "Matching.pairs": txray.match(*stages).pairs,
        "ModelMatching.pairs": txray.match_models(*models, text, max_words=300).pairs,
        "Persistence.stages": txray.persistence(stages).stages,
        "Persistence.neurons": txray.persistence(stages).neurons,
        "LayerSimilarity.table": similarity.table,
        "ConceptRanking.neurons": rankings[0].neurons,
        "ConceptRanking.concepts": rankings[0].concepts,
        "ConceptShift.neurons": shift.neurons,
        "ConceptShift.concepts": shift.concepts,
        "SmallestSet.curve": smallest_set(
            stages[0],
            language_model(
                "lstm", txray.demo_corpus("encyclopedia", words=3_000), embedding=8, hidden=12, seed=0
            ),
            txray.demo_corpus("encyclopedia", words=3_000),
            feature="NN",
        ).curve,
        "Decomposition.margins": effects.margins,
        "Decomposition.neurons": effects.neurons,
        "Decomposition.verdicts": effects.verdicts,
        **{
            f"Pruning.{name}": getattr(prunings[0], name)
            for name in ("effects", "random", "sets", "resamples")
        },
        "Pruning.verdicts": prunings[0].verdicts(0.5),
        "pool_runs": pool_runs(prunings),
        **{f"Advice.{name}": getattr(advice(), name) for name in ("layers", "steps")},
    }


def advice() -> Advice:
    reviews = txray.demo_corpus("reviews", words=3_000)
    model = classifier(language_model("lstm", reviews, embedding=6, hidden=12), "last")
    return advise(model, reviews, lose_at_most=50.0)


def pruned(seed: int, comparison: Comparison) -> Pruning:
    reviews = txray.demo_corpus("reviews", words=1_500)
    model = classifier(language_model("lstm", reviews, embedding=6, hidden=12, seed=seed), "last", seed=seed)
    with pytest.warns(txray.errors.ChanceWarning):
        return prune(
            model,
            paper_sets(comparison),
            {"test": evaluator(model, reviews, max_documents=12)},
            n_random_sets=3,
            resamples=20,
        )


def documented_columns() -> list[tuple[str, str, str]]:
    """(table, column, type) of every row of the page."""
    lines = [line for line in page("columns.md").splitlines() if line.startswith("| `")]
    rows = [cells(line) for line in lines]
    assert all(len(row) == 5 and all(row) for row in rows), (
        "each row has a column, type, unit, meaning and table"
    )
    return [(table.strip("`"), row[0].strip("`"), row[1]) for row in rows for table in row[4].split(", ")]


def test_the_page_on_columns_has_every_column_of_every_result(tables: dict[str, pl.DataFrame]) -> None:
    actual = [
        (name, column, "list" if isinstance(dtype, pl.List) else TYPES[dtype.base_type()])
        for name, table in tables.items()
        for column, dtype in table.schema.items()
        if (name, column) != ("Timeline.stages", "perplexity")
    ]
    assert Counter(documented_columns()) == Counter(actual)


def test_the_glossary_is_sorted_and_its_terms_are_used() -> None:
    lines = [line for line in page("glossary.md").splitlines() if line.startswith("- ")]
    terms = [match[1] for line in lines if (match := re.match(r"- \*\*(.+?)\*\*: .+\.$", line))]
    assert len(terms) == len(lines) == len(set(terms)) > 50
    assert terms == sorted(terms, key=str.lower)
    pages = " ".join(
        re.sub(r"\s+", " ", file.read_text(encoding="utf-8"))
        for file in (ROOT / "README.md", *DOCS.glob("*.md"))
        if file.name not in ("glossary.md", "changelog.md")
    ).lower()
    unused = [term for term in terms if not re.search(rf"\b{re.escape(term.lower())}(s|es)?\b", pages)]
    assert unused == []


def test_the_glossary_has_the_states_of_neurons(comparison: Comparison) -> None:
    states = comparison.neurons.schema["confident_state"].categories.to_list()  # type: ignore[attr-defined]
    assert len(states) == 6
    assert all(f"- **{state}**: state of a neuron" in page("glossary.md") for state in states)


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_contributors_page_lists_every_package() -> None:
    listed = re.findall(r"^\| `src/txray/(\w+)` \|", CONTRIBUTING, re.MULTILINE)
    packages = sorted(folder.parent.name for folder in SOURCE.glob("*/__init__.py"))
    assert sorted(listed) == packages
    assert len(CONTRIBUTING.splitlines()) <= 75


def test_the_paths_of_the_contributors_page_exist() -> None:
    paths = re.findall(r"`((?:src|tests|docs|benchmarks|examples)(?:/[\w./]*)?)`", CONTRIBUTING)
    assert len(paths) > 25
    assert [path for path in paths if not (ROOT / path).exists() and not path.startswith("docs/_build")] == []


def test_each_recipe_of_the_contributors_page_names_what_to_change() -> None:
    recipes = CONTRIBUTING.partition("## Recipes")[2].partition("\n## ")[0]
    paths = {
        title: re.findall(r"`(?:src|tests|docs)/", body)
        for title, body in re.findall(r"^\*\*(.+?)\*\*((?:.+\n)+)", recipes, re.MULTILINE)
    }
    assert set(paths) == {"Add a reader.", "Add a figure.", "Add a ranking.", "Add a logger."}
    assert all(len(named) >= 4 for named in paths.values())
    # Each recipe names a function, class or table that its file holds.
    for path, name in re.findall(r"`(src/[\w./]+\.py)`\s\(`(\w+)`\)", recipes):
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), f"{path}: no {name}"
