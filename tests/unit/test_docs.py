"""The documentation says what is so: its code runs, its commands, names, paths and tables exist."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import typer.main
from numpy.testing import assert_allclose

import txray
from tests.builders.hub_folders import folder_of
from tests.unit.corpus.treebanks import write_conllu
from txray.cli import plot
from txray.cli.main import app
from txray.errors import TxrayError
from txray.preferences.histograms import BINS, ConceptHistograms

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(DOCS.glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
PACKAGES = (
    "activations",
    "corpus",
    "models",
    "training",
    "capture",
    "engines",
    "preferences",
    "analysis",
    "synthetic",
    "plots",
    "pruning",
    "web.report",
    "experiment",
    "tracking",
    "tracking.loggers",
)
COMMAND = typer.main.get_command(app)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """Line number and content of each code block of a language."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield text[: match.start(1)].count("\n"), match[1]


def inline_code(page: Path) -> list[str]:
    """What stands between single backticks."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def table(page: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its two first lines."""
    text = ("\n" + (DOCS / page).read_text(encoding="utf-8")).partition(f"\n{heading}\n")[2]
    assert text, f"{page} has no heading {heading!r}"
    found = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert found, f"{page}: no table below {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[0].splitlines()[2:]]


def run(page: str, folder: Path) -> dict[str, Any]:
    """Execute the Python blocks of a page, in order, in one fresh namespace."""
    names: dict[str, Any] = {}
    with chdir(folder):
        for line, code in blocks(DOCS / page, "python"):
            # The line ends put a failure's line number where the page has it.
            exec(compile("\n" * line + code, str(DOCS / page), "exec"), names)
    return names


@pytest.fixture(scope="module")
def after_quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart was run."""
    folder = tmp_path_factory.mktemp("quickstart")
    folder_of("bert", folder / "my-bert")
    for name, domain in (("articles", "encyclopedia"), ("reviews", "reviews")):
        texts = (" ".join(document.words) for document in txray.demo_corpus(domain, words=4_000))
        (folder / f"{name}.txt").write_text("\n\n".join(texts), encoding="utf-8")
    names = run("quickstart.md", folder)
    assert names["comparison"].summary["shared"] > 0
    return folder


def test_the_quickstart_runs_and_leaves_what_it_says(after_quickstart: Path) -> None:
    left = {"language-model", "stages", "hellinger-length.html", "report.html", "my-bert.html"}
    assert {path.name for path in after_quickstart.iterdir()} >= left
    for stage in ("unsup", "zero-shot"):
        assert txray.Stage.load(after_quickstart / "stages" / stage).manifest["words"] == 20_000


def test_the_way_to_a_report_of_ones_own_model_is_short() -> None:
    text = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    code = (
        text.partition("## A Hugging Face model of your own")[2]
        .partition("```python\n")[2]
        .partition("```")[0]
    )
    assert "txray.report(" in code
    assert len(code.splitlines()) <= 9  # and one to install it


@pytest.mark.parametrize(
    "page", ["stages.md", "models.md", "latents.md", "activations.md", "output_side.md", "dashboard.md"]
)
def test_pages_that_go_on_after_the_quickstart_run(after_quickstart: Path, page: str) -> None:
    assert run(page, after_quickstart)


def test_the_page_on_ranking_runs(tmp_path: Path) -> None:
    names = run("ranking.md", tmp_path)
    assert set(names["ranking"].features) == {"NN", "DT"}
    assert 1 <= len(names["small"].neurons) <= 32
    assert set(names["sentiment"].features) == {"neg", "pos"}


def test_the_readme_runs(tmp_path: Path) -> None:
    text = txray.demo_corpus("encyclopedia", words=5_000)
    wiki = tmp_path / "wikitext-2"
    wiki.mkdir()
    lines = "".join(f" {' '.join(document.words)} \n" for document in text)
    (wiki / "wiki.train.tokens").write_text(lines, encoding="utf-8")
    txray.Tagger.train(write_conllu(tmp_path / "tags.conllu", text), iterations=1).save(tmp_path / "tagger")
    for seed, epoch in enumerate(("epoch-001", "epoch-012")):
        model = txray.models.language_model("lstm", text, embedding=8, hidden=16, seed=seed)
        txray.models.save_model(model, tmp_path / "lm" / epoch)
    names = run("../README.md", tmp_path)
    assert names["before"].manifest["words"] == 5_000
    assert names["comparison"].neurons.height == 16
    assert "epoch-12" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_on_tracking_runs(tmp_path: Path) -> None:
    folder_of("bert", tmp_path / "my-bert")
    names = run("tracking.md", tmp_path)
    assert names["timelines"]["token"].names == ["step-000010", "step-000020"]
    live, replayed = (
        timelines["token"].steps for timelines in (names["callback"].timelines, names["timelines"])
    )
    assert set(live) == {"rnn"}
    assert len(replayed) == 2
    for folder, first in (
        ("tracking", "step-000000"),
        ("fine-tuning", "step-000000"),
        ("lm/tracking", "epoch-000"),
    ):
        assert (tmp_path / folder / "stages" / first / "manifest.json").is_file()


def test_the_page_on_data_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("data.md", tmp_path)
    shown = capsys.readouterr().out
    assert "note-1 ('A', 'quiet', 'film', '.') ('DT', 'JJ', 'NN', '.')" in shown
    assert "dataset/000000 ('PER', 'O', 'LOC', 'O')" in shown
    assert "'title': ('True', 'False', 'True', 'False'), 'moods': ('O', 'O', 'O', 'O')" in shown
    assert "'city': ('O', 'O', 'CITY', 'O')" in shown


@pytest.fixture(scope="module")
def concepts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names of the page on concepts, after its code was run."""
    return run("concepts.md", tmp_path_factory.mktemp("concepts"))


def test_the_worked_example_gives_the_numbers_of_the_page(concepts: dict[str, Any]) -> None:
    before, after = concepts["before"], concepts["after"]
    assert list(before.lengths()) == [3, 0, 1]
    assert_allclose(before.mass(), [2.7, 0, 1])
    probability = dict(before.table(neuron=0).select("feature", "probability").iter_rows())
    assert probability == pytest.approx({"ship": 0.35, "storm": 0.35, "sank": 0.30})
    change = txray.compare(before, after, permutations=0).neurons
    assert change["state"].to_list() == ["shared", "gained", "avoided"]
    assert change["hellinger_length"][0] == 4
    assert change["hellinger"][0] == pytest.approx(0.698, abs=0.0005)


def test_the_table_of_bias_is_what_its_code_gives(concepts: dict[str, Any]) -> None:
    told = {
        int(row[0].replace(",", "")): [float(value) for value in row[1:]]
        for row in table("concepts.md", "## What the numbers cannot tell")
    }
    assert told.keys() == concepts["bias"].keys()
    for wins, values in told.items():
        assert_allclose(values, concepts["bias"][wins], atol=0.0051)


def test_what_is_found_of_planted_truth_is_what_the_page_says(concepts: dict[str, Any]) -> None:
    told = re.search(r"print\(pair\)  # (.*)", (DOCS / "concepts.md").read_text(encoding="utf-8"))
    assert told
    assert told[1] in repr(concepts["pair"])
    called = dict(concepts["called"]["group"].value_counts().iter_rows())
    assert called["changed"] >= 45
    assert sum(called.values()) - called["changed"] <= 0.1 * called["changed"]


def test_the_page_on_loggers_runs(chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    # The page sets them for good.
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
    wandb.teardown()
    names = run("loggers.md", tmp_path)
    wandb.teardown()
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2
    assert list(tmp_path.glob("runs/first/events.*"))
    assert len(list(tmp_path.glob("mlruns/*/*/artifacts/txray/stage/step-100/manifest.json"))) == 1
    assert len((tmp_path / "visdom.log").read_text().splitlines()) == 4
    told = {row[0].strip("`") for row in table("loggers.md", "# Loggers")}
    assert told | {"Logger"} == set(names["txray"].tracking.loggers.__all__)


def test_the_page_on_pruning_runs_and_tells_every_column(tmp_path: Path) -> None:
    names = run("pruning.md", tmp_path)
    assert (tmp_path / "mask.json").is_file()
    wins = names["after"].preferences().wins()
    assert wins[[3, 17]].sum() == 0
    assert names["before"].preferences().n_neurons == len(wins)
    text = (DOCS / "pruning.md").read_text(encoding="utf-8").partition("## Better than random?")[2]
    told = {
        name
        for row in table("pruning.md", "## Better than random?")
        for name in re.findall(r"`(\w+)`", row[0])
    }
    beside = set(re.findall(r"`(\w+)`", text.partition("\n\n|")[0])) - {"effects"}
    assert told | beside == set(names["pruning"].effects.columns)
    rankings = {
        name
        for row in table("pruning.md", "## Rankings and curves")
        for name in re.findall(r"`([^`]+)`", row[0])
    }
    assert rankings == set(txray.pruning.RANKINGS)


def test_the_tables_of_the_stage_folder_are_those_of_a_saved_stage(after_quickstart: Path) -> None:
    folder = after_quickstart / "stages" / "unsup"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    # `text` says how text was read, which models of whole words do not depend on; `output_tokens` needs a vocabulary.
    assert told_names("## manifest.json") == set(manifest) | {"text", "output_tokens", "concepts"}
    for file in folder.glob("*.parquet"):
        heading = re.sub(r"\.(token|pos)\.", ".&lt;type&gt;.", file.name)
        if heading != "tags.parquet":
            assert told_names(f"## {heading}") == set(pl.read_parquet_schema(file)), heading
    assert pl.read_parquet_schema(folder / "tags.parquet").names() == ["token", "pos", "count"]
    files = {re.sub(r"\.(token|pos)\.", ".<type>.", file.name) for file in folder.iterdir()}
    of_concepts = {"histograms.<type>.parquet", "bins.parquet"}
    assert told_names("# Stages on disk") == files | {"output_tokens.parquet"} | of_concepts
    stage = txray.Stage.load(folder)
    concepts = {("rnn", "pos"): histograms_of_words(stage.n_neurons["rnn"])}
    replace(stage, manifest={**manifest, "concepts": {"pos": []}}, histograms=concepts).save(
        folder.parent / "ranked"
    )
    for name in of_concepts:
        file = folder.parent / "ranked" / name.replace("<type>", "pos")
        heading = name.replace("<type>", "&lt;type&gt;")
        assert told_names(f"## {heading}") == set(pl.read_parquet_schema(file)), heading


def histograms_of_words(n_neurons: int) -> ConceptHistograms:
    """One word per bin."""
    counts = np.ones((1, 2, n_neurons, BINS), np.uint32)
    edges = np.tile(np.arange(BINS - 1, dtype=np.float32), (n_neurons, 1))
    return ConceptHistograms(
        "s", "rnn", "pos", np.array(["NN"], object), edges, counts, counts[0].repeat(32, axis=0)
    )


def told_names(heading: str) -> set[str]:
    """The names in the first column of a table of the page on stages."""
    return {name for row in table("stages.md", heading) for name in re.findall(r"`([^`]+)`", row[0])}


def test_the_columns_of_curves_are_those_of_a_training(after_quickstart: Path) -> None:
    curves = pl.read_parquet(after_quickstart / "language-model" / "curves.parquet")
    rows = table(
        "models.md", "The **curves** have one row per epoch and split (`train`, `validation`, `test`):"
    )
    told = {
        name for row in rows if "classifiers only" not in row[1] for name in re.findall(r"`(\w+)`", row[0])
    }
    assert told == set(curves.columns)


@each_page
def test_every_command_shown_can_be_parsed(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for _, block in blocks(page, "console"):
        for line in commands_of(block):
            program, *arguments = shlex.split(line, comments=True)
            if program == "txray":
                command, rest = command_of(arguments)
                # Parses and checks the arguments without running anything; an unknown option raises.
                command.make_context(program, rest)
            elif program == "make":
                assert arguments[0] in targets, line
            elif program == "pytest":
                assert all((ROOT / argument).exists() for argument in arguments if "/" in argument), line
            else:
                assert program in {".", "cd", "git", "mypy", "python"}, (
                    f"{page.name}: unknown program in {line!r}"
                )


def commands_of(block: str) -> list[str]:
    """The lines behind prompts; all lines where there are no prompts."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")] or [
        line for line in lines if line
    ]


def command_of(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that the arguments name, and the arguments that are left for it."""
    command: Any = COMMAND
    rest = list(arguments)
    while rest and hasattr(command, "commands"):
        assert rest[0] in command.commands, f"txray has no command {' '.join(arguments)!r}"
        command = command.commands[rest.pop(0)]
    return command, rest


def options(command: Any) -> set[str]:
    """All options of a command and of those below it."""
    found = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return found.union(*(options(each) for each in getattr(command, "commands", {}).values()))


@each_page
def test_commands_and_options_named_in_the_text_exist(page: Path) -> None:
    known = options(COMMAND)
    for code in inline_code(page):
        if code.startswith("txray "):
            command_of([word for word in code.split()[1:] if re.fullmatch(r"[a-z]+", word)])
        if code.startswith("-"):
            assert code.split()[0] in known or code == "-", f"{page.name}: {code!r} is no option of txray"


@each_page
def test_names_of_txray_exist(page: Path) -> None:
    for name in set(re.findall(r"\btxray(?:\.[A-Za-z_]\w*)+", page.read_text(encoding="utf-8"))):
        assert resolved(name) is not None


def resolved(name: str) -> object:
    """What a dotted name stands for; modules are imported on the way."""
    thing: Any = txray
    for parent, part in pairwise(["txray", *name.split(".")[1:]]):
        if not hasattr(thing, part):
            thing = importlib.import_module(f"{thing.__name__}.{part}")
        else:
            thing = getattr(thing, part)
        assert thing is not None, f"{parent}.{part}"
    return thing


@each_page
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    labels = {
        label
        for each in DOCS.glob("*.md")
        for label in re.findall(r"^\((\S+)\)=$", each.read_text(encoding="utf-8"), re.M)
    }
    shown = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", shown) + re.findall(r'(?:src|href)="([^"]+)"', shown)
    for link in links:
        target = link.partition("#")[0]
        if target and not target.startswith(("https://", "http://")) and target not in labels:
            assert (page.parent / target).exists(), f"{page.name}: {link}"
    for code in inline_code(page):
        if re.match(r"(src|docs|tests|examples)/", code) and not code.startswith("docs/_build"):
            assert (ROOT / code).exists(), f"{page.name}: {code}"


def test_every_picture_is_shown_somewhere() -> None:
    shown = {
        Path(link).name
        for page in PAGES
        for link in re.findall(r"!\[.*?\]\((\S+)\)", page.read_text(encoding="utf-8"))
    }
    assert shown == {picture.name for picture in (DOCS / "images").iterdir()}


def test_the_api_page_holds_every_public_name() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    told = re.findall(r"(?:auto\w+|py:\w+):: (txray[\w.]+)", page)
    things = [resolved(name) for name in told]
    assert len(set(told)) == len(told)
    for module in (txray, *(importlib.import_module(f"txray.{package}") for package in PACKAGES)):
        for name in module.__all__:
            thing = getattr(module, name)
            assert isinstance(thing, ModuleType) or any(thing is each for each in things), (
                f"{module.__name__}.{name}"
            )


EXAMPLES = [
    str(file.relative_to(ROOT / "src").with_suffix("")).replace("/", ".")
    for folder in (".", "capture", "models", "synthetic")
    for file in sorted((ROOT / "src" / "txray" / folder).glob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_docstrings_are_true(module: str, tmp_path: Path) -> None:
    names = {"txray": txray, "torch": torch, "nn": torch.nn}
    with chdir(tmp_path):
        result = doctest.testmod(importlib.import_module(module), extraglobs=names)
    assert result.attempted
    assert not result.failed


def test_the_error_page_holds_every_error() -> None:
    def tree(error: type[TxrayError]) -> set[type[TxrayError]]:
        return {error}.union(*(tree(each) for each in error.__subclasses__()))

    listed = [error for error in tree(TxrayError) if error.__module__ == "txray.errors"]
    told = {row[0].strip("`"): int(row[2]) for row in table("errors.md", "## The tree")}
    assert told == {f"txray.errors.{error.__name__}": error.exit_code for error in listed}


def test_the_messages_on_the_error_page_are_those_of_the_code() -> None:
    said = [
        part.value
        for file in (ROOT / "src").rglob("*.py")
        for part in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    topics = re.findall(r"^### .*$", text.partition("## Frequent messages")[2], re.MULTILINE)
    messages = [row[0] for topic in topics for row in table("errors.md", topic)]
    assert len(messages) == len(set(messages)) > 60
    for message in messages:
        for piece in message.strip("`").split("…"):
            assert any(piece in text for text in said), f"no error says {piece!r} (of {message})"


def test_every_figure_of_the_command_line_is_explained() -> None:
    shown = {
        shlex.split(line)[3]
        for _, block in blocks(DOCS / "figures.md", "console")
        for line in block.splitlines()
        if line.startswith("$ txray plot")
    }
    assert shown == set(plot._KNOWN)


def test_generated_parts_come_from_the_code() -> None:
    spec = importlib.util.spec_from_file_location("generated", DOCS / "_extensions" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    generated = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generated)

    commands = generated.filled((DOCS / "cli.md").read_text(encoding="utf-8"))
    headings = set(re.findall(r"^#+ `(txray .*)`$", commands, re.MULTILINE))
    assert headings >= {"txray demo", "txray train lm", "txray data fetch", "txray experiment"}
    assert "--evaluation-words <int>" in commands
    assert "**Commands**" not in commands

    experiment = generated.filled((DOCS / "experiment.md").read_text(encoding="utf-8"))
    assert "| setting | demo | small | paper |" in experiment
    assert "| `hidden` | 128 | 300 | 1,500 |" in experiment
    assert "<!-- generated" not in commands + experiment


def test_what_is_told_of_the_embedded_corpus() -> None:
    corpora = [txray.demo_corpus(domain, words=200_000) for domain in ("encyclopedia", "reviews")]
    words = [{word.lower() for document in corpus for word in document.words} for corpus in corpora]
    text = (DOCS / "data.md").read_text(encoding="utf-8")
    told = re.search(
        r"some ([\d,]+) and ([\d,]+) different words .* some ([\d,]+) occur in both", " ".join(text.split())
    )
    assert told
    sizes = [len(words[0]), len(words[1]), len(words[0] & words[1])]
    assert_allclose([int(number.replace(",", "")) for number in told.groups()], sizes, rtol=0.03)

    quotes = re.findall(r"^> (.*)$", text, re.MULTILINE)
    beginnings = [" ".join(next(iter(corpus)).words) for corpus in corpora]
    assert [text.startswith(quote) for text, quote in zip(beginnings, quotes, strict=True)] == [True, True]
