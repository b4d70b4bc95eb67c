"""An installation without extras: everything of the core works, and each extra is missed in one line.

The environment is a real one, whose interpreter finds the packages that `pip install txray` brings and no others.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import venv
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

from txray import Stage, Tagger
from txray.cli.main import _exit_code

EXTRAS = (
    *("wandb", "tensorboard", "mlflow", "visdom", "ray", "transformers", "datasets", "dash", "waitress"),
    *("spacy", "pycrfsuite", "pooch", "kaleido", "pandas", "pyarrow", "pytest", "playwright", "sphinx"),
    *("accelerate", "lightning", "pytorch_lightning", "torchmetrics"),
)


def distributions() -> list[Distribution]:
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


def environment(place: Path) -> Path:
    """The interpreter of an environment; packages are links to those that are installed here."""
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for one in distributions():
        for file in one.files or ():
            top = file.parts[0]
            link, source = packages / top, Path(str(one.locate_file(top)))
            if top not in ("..", "__pycache__") and source.exists() and not link.exists():
                link.symlink_to(source)
    return place / "bin" / "python"


LOOP = """
import contextlib, io, json, sys, traceback
for line in sys.stdin:
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exec(json.loads(line), {"__name__": "__main__"})
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""
"""Runs the code of each line, so that torch is imported once for all tests."""


def variables(folder: Path) -> dict[str, str]:
    """Environment variables that lead to no other packages."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    return {**inherited, "XDG_CACHE_HOME": str(folder), "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Result:
    """How a piece of code ended, and what it wrote."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Core:
    """A process of the environment, and the folder that it works in."""

    process: subprocess.Popen[str]
    python: Path
    folder: Path

    def run(self, code: str) -> Result:
        """Run code to its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        return Result(*json.loads(self.process.stdout.readline()))

    def command(self, *arguments: str) -> Result:
        """Run a command of txray."""
        return self.run(f"from txray.cli.main import run; run({list(arguments)})")

    def txray(self, *arguments: str) -> str:
        """What a command prints that succeeds."""
        done = self.command(*arguments)
        assert done.status == 0, (arguments, done.out[-500:], done.err[-2_000:])
        return done.out


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """The core, where a tracked training and a classifier lie that were made with the extra for training."""
    python, folder = environment(tmp_path_factory.mktemp("core")), tmp_path_factory.mktemp("work")
    with chdir(folder):
        small = ("--words", "3000", "--evaluation-words", "1200", "--epochs", "2", "--hidden", "12")
        text = ("-f", "demo", "-t", "encyclopedia")
        train = ("train", "lm", *text, "-o", "lm", *small, "--embedding", "8", "--track")
        assert _exit_code([*train]) == 0
        train = ("train", "classifier", "lm/epoch-002", "-f", "demo", "-t", "reviews", "-o", "judge")
        assert _exit_code([*train, "--epochs", "1", "--max-length", "20"]) == 0
    tags = {"The": "DT", "river": "NN", "flows": "VBZ", ".": "."}
    words = [f"{i}\t{word}\t_\tX\t{tag}\t_\t0\troot\t_\t_" for i, (word, tag) in enumerate(tags.items(), 1)]
    (folder / "bank.conllu").write_text(("\n".join(words) + "\n\n") * 5)
    with subprocess.Popen(
        [str(python), "-c", LOOP],
        cwd=folder,
        env=variables(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Core(process, python, folder)


def test_the_environment_holds_no_extra(core: Core) -> None:
    code = f"import importlib.util as u; print([name for name in {EXTRAS} if u.find_spec(name)])"
    assert core.run(code).out.strip() == "[]"
    code = (
        "import txray, torch, sys; print(sys.prefix);"
        "[getattr(txray, name) for name in txray.__all__ if name not in ('Dashboard', 'serve')]"
    )
    done = core.run(code)
    assert done.status == 0, done.err
    assert done.out.strip() == str(core.python.parents[1])


def test_help_and_every_command_of_the_core(core: Core) -> None:
    command = [core.python, "-m", "txray", "--help"]
    assert b"replay" in subprocess.check_output(command, env=variables(core.folder), timeout=300)
    text = ("-f", "demo", "-t", "reviews", "--max-words", "1500")
    one, two = "lm/tracking/stages/epoch-000", "lm/tracking/stages/epoch-002"
    collected = ("--feature-type", "token", "--feature-type", "pos")
    assert "rnn" in core.txray("layers", "lm/epoch-002")
    core.txray("collect", "lm/epoch-002", *text, "-o", "whole", *collected)
    for part in ("1/2", "2/2"):
        core.txray("collect", "lm/epoch-002", *text, "-o", part[0], *collected, "--shard", part)
    core.txray("merge", "1", "2", "-o", "merged")
    assert "shared" in core.txray("compare", one, two, "-o", "change")
    core.txray("match", one, two, "-o", "pairs.csv")
    core.txray("timeline", one, two, "-o", "story", "--permutations", "100")
    core.txray("replay", "lm", *text, "-o", "again", "--permutations", "100")
    core.txray("plot", "hellinger-length", one, two, "-o", "figure.html")
    core.txray("report", one, two, "-o", "report.html")
    core.txray("plot", "curves", "judge", "-o", "curves.html")
    core.txray(
        "prune", "table", "judge/epoch-001", "-f", "demo", "-t", "reviews", "--set", "1,2",
        "--max-documents", "20", "--random-sets", "2", "--ablation", "mean", "--split", "test", "-o", "pruned",
    )  # fmt: skip
    assert json.loads((core.folder / "change" / "summary.json").read_text())["neurons"] == 12


def test_running_text_is_read_and_tagged_by_the_core(core: Core) -> None:
    (core.folder / "notes.txt").write_text("I can't swim (yet). The river flows.\n" * 30)
    Tagger.train(core.folder / "bank.conllu", iterations=2).save(core.folder / "tagger")
    core.txray(
        "collect", "lm/epoch-002", "-f", "text", "-t", "notes.txt", "--tagger", "tagger",
        "--feature-type", "token", "--feature-type", "pos", "-o", "tagged",
    )  # fmt: skip
    stage = Stage.load(core.folder / "tagged")
    assert {"(", ")", "the"} <= set(stage.preferences(layer="rnn", feature_type="token").features)
    assert set(stage.preferences(layer="rnn", feature_type="pos").features) <= {"DT", "NN", "VBZ", "."}
    assert "right" in core.txray("tagger", "evaluate", "tagger", "bank.conllu")


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
def test_each_missing_extra_is_one_line(core: Core, arguments: tuple[str, ...], extra: str) -> None:
    (core.folder / "bert").mkdir(exist_ok=True)
    (core.folder / "bert" / "config.json").write_text("{}")
    stages = {f"{{{name}}}": f"lm/tracking/stages/epoch-00{n}" for name, n in (("one", 0), ("two", 2))}
    done = core.command(*(stages.get(argument, argument) for argument in arguments))
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert re.search(rf"needs? the extra '{extra}'.*pip install 'txray\[{extra}\]'", done.err), done.err
    assert "Traceback" not in done.out + done.err
    assert not (core.folder / f"r-{extra}").exists()


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("tracking.HuggingFaceCallback", "hf"),
        ("tracking.LightningCallback", "train"),
        ("training.train_language_model", "train"),
        ("training.train_classifier", "train"),
    ],
)
def test_what_needs_an_extra_says_so_in_one_line(core: Core, name: str, extra: str) -> None:
    code = f"import txray\ntry:\n    txray.{name}\nexcept txray.errors.UsageError as error:\n    print(error)"
    message = core.run(code).out
    assert re.search(rf"needs the extra '{extra}' .*pip install 'txray\[{extra}\]'", message), message
    assert message.count("\n") == 1


def test_runs_are_read_and_scored_without_the_extra_for_training(core: Core) -> None:
    code = (
        "import txray; run = txray.training.load_run('lm'); model = txray.load_model(run.snapshots[2]);"
        "corpus = txray.demo_corpus('encyclopedia', words=500);"
        "print(run.best_epoch, txray.training.language_model_loss(model, corpus) > 0)"
    )
    assert core.run(code).out.split() == ["2", "True"]
