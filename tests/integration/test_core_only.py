"""An installation without extras: everything of the core works, and each extra is missed in one line.

The environment is a real one, whose interpreter finds the packages that `pip install txray` brings and no others.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

from txray import Stage, Tagger

EXTRAS = (
    *("wandb", "tensorboard", "mlflow", "visdom", "ray", "transformers", "datasets", "dash", "waitress"),
    *("spacy", "pycrfsuite", "pooch", "kaleido", "pandas", "pyarrow", "pytest", "playwright", "sphinx"),
    *("accelerate", "lightning", "pytorch_lightning", "torchmetrics"),
)


def core() -> list[Distribution]:
    """txray, what it requires without extras, and what that requires."""
    found: dict[str, Distribution] = {}
    waiting = ["txray"]
    while waiting:
        name = waiting.pop()
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue  # for another system or version of Python
        key = one.metadata["Name"].lower()
        if key not in found:
            found[key] = one
            waiting += [
                re.split(r"[\s;<>=!~\[(]", line, maxsplit=1)[0]
                for line in one.requires or ()
                if "extra ==" not in line
            ]
    return list(found.values())


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of such an environment; packages are links to those that are installed here."""
    place = tmp_path_factory.mktemp("core")
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for one in core():
        for file in one.files or ():
            top = file.parts[0]
            link, source = packages / top, Path(str(one.locate_file(top)))
            if top not in ("..", "__pycache__") and source.exists() and not link.exists():
                link.symlink_to(source)
    return place / "bin" / "python"


def run(python: Path | str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process in a folder of its own."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    return subprocess.run(
        [str(python), *arguments],
        cwd=folder,
        env={**settings, "XDG_CACHE_HOME": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def txray(python: Path | str, folder: Path, *arguments: str) -> str:
    """What a command prints."""
    done = run(python, folder, "-m", "txray", *arguments)
    assert done.returncode == 0, (arguments, done.stdout[-500:], done.stderr[-2_000:])
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracked training and a classifier, made with the extra for training."""
    place = tmp_path_factory.mktemp("work")
    small = ("--words", "3000", "--evaluation-words", "1200", "--epochs", "2", "--hidden", "12")
    text = ("-f", "demo", "-t", "encyclopedia")
    txray(sys.executable, place, "train", "lm", *text, "-o", "lm", *small, "--embedding", "8", "--track")
    txray(
        sys.executable, place, "train", "classifier", "lm/epoch-002", "-f", "demo", "-t", "reviews",
        "-o", "judge", "--epochs", "1", "--max-length", "20",
    )  # fmt: skip
    tags = {"The": "DT", "river": "NN", "flows": "VBZ", ".": "."}
    words = [f"{i}\t{word}\t_\tX\t{tag}\t_\t0\troot\t_\t_" for i, (word, tag) in enumerate(tags.items(), 1)]
    (place / "bank.conllu").write_text(("\n".join(words) + "\n\n") * 5)
    return place


def test_the_environment_holds_no_extra(python: Path, tmp_path: Path) -> None:
    code = f"import importlib.util as u; print([name for name in {EXTRAS} if u.find_spec(name)])"
    assert run(python, tmp_path, "-c", code).stdout.strip() == "[]"
    code = (
        "import txray, torch, sys; print(sys.prefix);"
        "[getattr(txray, name) for name in txray.__all__ if name not in ('Dashboard', 'serve')]"
    )
    done = run(python, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(python.parents[1]))


def test_help_and_every_command_of_the_core(python: Path, folder: Path) -> None:
    assert "replay" in txray(python, folder, "--help")
    text = ("-f", "demo", "-t", "reviews", "--max-words", "1500")
    one, two = "lm/tracking/stages/epoch-000", "lm/tracking/stages/epoch-002"
    collected = ("--feature-type", "token", "--feature-type", "pos")
    assert "rnn" in txray(python, folder, "layers", "lm/epoch-002")
    txray(python, folder, "collect", "lm/epoch-002", *text, "-o", "whole", *collected)
    for part in ("1/2", "2/2"):
        txray(python, folder, "collect", "lm/epoch-002", *text, "-o", part[0], *collected, "--shard", part)
    txray(python, folder, "merge", "1", "2", "-o", "merged")
    assert "shared" in txray(python, folder, "compare", one, two, "-o", "change")
    txray(python, folder, "match", one, two, "-o", "pairs.csv")
    txray(python, folder, "timeline", one, two, "-o", "story", "--permutations", "100")
    txray(python, folder, "replay", "lm", *text, "-o", "again", "--permutations", "100")
    txray(python, folder, "plot", "hellinger-length", one, two, "-o", "figure.html")
    txray(python, folder, "report", one, two, "-o", "report.html")
    txray(python, folder, "plot", "curves", "judge", "-o", "curves.html")
    txray(
        python, folder, "prune", "table", "judge/epoch-001", "-f", "demo", "-t", "reviews", "--set", "1,2",
        "--max-documents", "20", "--random-sets", "2", "--ablation", "mean", "--split", "test", "-o", "pruned",
    )  # fmt: skip
    assert json.loads((folder / "change" / "summary.json").read_text())["neurons"] == 12


def test_running_text_is_read_and_tagged_by_the_core(python: Path, folder: Path) -> None:
    (folder / "notes.txt").write_text("I can't swim (yet). The river flows.\n" * 30)
    Tagger.train(folder / "bank.conllu", iterations=2).save(folder / "tagger")
    text = (
        "-f",
        "text",
        "-t",
        "notes.txt",
        "--tagger",
        "tagger",
        "--feature-type",
        "token",
        "--feature-type",
        "pos",
    )
    txray(python, folder, "collect", "lm/epoch-002", *text, "-o", "tagged")
    stage = Stage.load(folder / "tagged")
    assert {"(", ")", "the"} <= set(stage.preferences(layer="rnn", feature_type="token").features)
    assert set(stage.preferences(layer="rnn", feature_type="pos").features) <= {"DT", "NN", "VBZ", "."}
    assert "right" in txray(python, folder, "tagger", "evaluate", "tagger", "bank.conllu")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("data", "fetch", "ud-ewt", "--to", "r-text"), "text"),
        (("tagger", "train", "bank.conllu", "-o", "r-text"), "text"),
        (
            ("collect", "lm/epoch-002", "-f", "demo", "-t", "reviews", "-o", "r-text", "--spacy", "x:ent"),
            "text",
        ),
        (("serve", "lm/tracking/stages", "--no-browser"), "dashboard"),
        (("plot", "hellinger-length", "{one}", "{two}", "-o", "figure.png"), "export"),
        (("layers", "bert"), "hf"),
        (("train", "lm", "-f", "demo", "-t", "encyclopedia", "-o", "r-train"), "train"),
        (("train", "classifier", "lm/epoch-002", "-f", "demo", "-t", "reviews", "-o", "r-train"), "train"),
        (("collect", "lm/epoch-002", "-f", "demo", "-t", "reviews", "-o", "r-ray", "--engine", "ray"), "ray"),
        *(
            (("replay", "lm", "-f", "demo", "-t", "reviews", "-o", f"r-{name}", "--logger", name), name)
            for name in ("wandb", "tensorboard", "mlflow", "visdom")
        ),
    ],
)
def test_each_missing_extra_is_one_line(
    python: Path, folder: Path, arguments: tuple[str, ...], extra: str
) -> None:
    (folder / "bert").mkdir(exist_ok=True)
    (folder / "bert" / "config.json").write_text("{}")
    places = {f"{{{name}}}": f"lm/tracking/stages/epoch-00{n}" for name, n in (("one", 0), ("two", 2))}
    done = run(python, folder, "-m", "txray", *(places.get(each, each) for each in arguments))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert re.search(rf"needs? the extra '{extra}'.*pip install 'txray\[{extra}\]'", done.stderr), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (folder / f"r-{extra}").exists()


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("tracking.HuggingFaceCallback", "hf"),
        ("tracking.LightningCallback", "train"),
        ("training.train_language_model", "train"),
        ("training.train_classifier", "train"),
    ],
)
def test_what_needs_an_extra_says_so_in_one_line(python: Path, folder: Path, name: str, extra: str) -> None:
    code = f"import txray\ntry:\n    txray.{name}\nexcept txray.errors.UsageError as error:\n    print(error)"
    message = run(python, folder, "-c", code).stdout
    assert re.search(rf"needs the extra '{extra}' .*pip install 'txray\[{extra}\]'", message), message
    assert message.count("\n") == 1


def test_runs_are_read_and_scored_without_the_extra_for_training(python: Path, folder: Path) -> None:
    code = (
        "import txray; run = txray.training.load_run('lm'); model = txray.load_model(run.snapshots[2]);"
        "corpus = txray.demo_corpus('encyclopedia', words=500);"
        "print(run.best_epoch, txray.training.language_model_loss(model, corpus) > 0)"
    )
    assert run(python, folder, "-c", code).stdout.split() == ["2", "True"]
