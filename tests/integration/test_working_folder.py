"""Files beside somebody's data never run: modules with the names of libraries lie there, and nothing imports them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.builders.texts import small_model
from txray.models import save_model

ROOT = Path(__file__).parents[2]
LOCKED = {
    name.lower().replace("_", "-")
    for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
}
LIBRARIES = {
    module
    for module, distributions in packages_distributions().items()
    if module.isidentifier()
    and module != "txray"
    and any(name.lower().replace("_", "-") in LOCKED for name in distributions)
}
STANDARD = {name for name in sys.stdlib_module_names if not name.startswith("_")}
EXTRAS = {"polars", "torch", "ray", "dash", "kaleido", "transformers", "sitecustomize", "usercustomize"}
WORKING_FOLDER = "import-me"


def canaries(folder: Path, names: set[str]) -> Path:
    """A working folder with a module of every name, which leaves a file where it is imported, and then fails."""
    here = folder / WORKING_FOLDER
    here.mkdir(parents=True)
    seen = folder / "imported"
    seen.mkdir()
    for name in sorted(names):
        (here / f"{name}.py").write_text(
            f"import sys\n"
            f"open({str(seen)!r} + '/{name}', 'w').write(' '.join(sys.orig_argv))\n"
            f"raise ImportError('{name} of the working folder')\n"
        )
    return here


def imported(here: Path) -> dict[str, str]:
    """Names of the modules that were imported from a working folder, and the processes that did."""
    return {file.name: file.read_text() for file in (here.parent / "imported").iterdir()}


def needed_by_python() -> set[str]:
    """Modules that `python -m` and the script of an installed command import before they look for txray."""
    code = "import re, runpy, sys; print(*sys.modules)"
    started = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(started.stdout.split())


def environment(folder: Path) -> dict[str, str]:
    """The variables of a process, with a cache of its own and the tested txray."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "RAY"))}
    return own | {
        "PYTHONPATH": str(ROOT / "src"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }


def run(arguments: Sequence[str | Path], here: Path, **variables: str) -> str:
    """What a process in a working folder prints."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=here,
        env=environment(here.parent) | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert imported(here) == {}, (arguments, done.stderr[-2_000:])
    assert done.returncode == 0, (arguments, done.stdout[-500:], done.stderr[-2_000:])
    return done.stdout


def command() -> str:
    """The installed command `txray`, as it is started from a shell."""
    script = Path(sys.executable).with_name("txray")
    assert script.is_file(), "txray is not installed"
    return str(script)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder full of canaries, in which a tracked training lies."""
    folder = tmp_path_factory.mktemp("data")
    assert EXTRAS - {"sitecustomize", "usercustomize"} <= LIBRARIES, EXTRAS - LIBRARIES
    here = canaries(folder, (LIBRARIES | STANDARD | EXTRAS) - needed_by_python())
    small = ("--words", "2000", "--evaluation-words", "800", "--epochs", "1", "--hidden", "8")
    text = ("-f", "demo", "-t", "encyclopedia")
    run(("-m", "txray", "train", "lm", *text, "-o", "lm", *small, "--embedding", "8", "--track"), here)
    rows = "\n".join(
        f"{i}\t{word}\t_\tNOUN\tNN\t_\t0\troot\t_\t_" for i, word in enumerate(("a", "river"), 1)
    )
    (here / "bank.conllu").write_text(f"{rows}\n\n" * 3)
    return here


ONE, TWO = "lm/tracking/stages/epoch-000", "lm/tracking/stages/epoch-001"
DEMO = ("-f", "demo", "-t", "reviews", "--max-words", "800")
BY_RAY = ("--engine", "ray", "--workers", "1", "--shards", "2")
TESTS = ("--permutations", "20")
PRUNED = ("-f", "demo", "-t", "encyclopedia", "--max-documents", "4")


COMMANDS = (
    ("collect", "lm/epoch-001", *DEMO, "-o", "stage"),
    ("compare", ONE, TWO, *TESTS, "-o", "change"),
    ("match", ONE, TWO, "-o", "pairs.csv"),
    ("timeline", ONE, TWO, *TESTS),
    ("plot", "hellinger-length", ONE, TWO, "-o", "figure.html", *TESTS),
    ("report", ONE, TWO, "-o", "report.html", *TESTS),
    ("replay", "lm", *DEMO, "-o", "again", *TESTS),
    ("prune", "table", "lm/epoch-001", *PRUNED, "--set", "0,1", "-o", "pruned"),
    ("tagger", "train", "bank.conllu", "-o", "tagger"),
)
IN_ONE_PROCESS = f"""
from txray.cli.main import run

for arguments in {COMMANDS}:
    try:
        run(arguments)
    except SystemExit as end:
        assert not end.code, arguments
"""


def test_no_command_imports_from_the_working_folder(here: Path, tmp_path: Path) -> None:
    script = tmp_path / "txray"
    script.write_text(IN_ONE_PROCESS)
    run((script,), here)
    assert (here / "pruned").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("compare", ONE, TWO, *TESTS),
        ("collect", "lm/epoch-001", *DEMO, "-o", "by-ray", *BY_RAY),
    ],
    ids=["--help", "compare", "collect-by-ray"],
)
def test_no_process_that_runs_the_package_imports_from_it(here: Path, arguments: tuple[str, ...]) -> None:
    run(("-m", "txray", *arguments), here)


def test_a_picture_is_drawn_by_a_browser_of_its_own(here: Path, chromium: str) -> None:
    run(("-m", "txray", "plot", "hellinger-length", ONE, TWO, "-o", "figure.svg", *TESTS), here)


@pytest.mark.parametrize("path", ["{}", ":{}", "{}:"])
def test_the_installed_command_imports_no_module_of_any_name(tmp_path: Path, path: str) -> None:
    names = LIBRARIES | STANDARD | EXTRAS
    if path != "{}":
        # With an empty entry, Python imports from the working folder what starts a command, before there is one.
        names -= needed_by_python() | {"sitecustomize", "usercustomize"}
    here = canaries(tmp_path, names)
    arguments: tuple[str, ...] = ("layers", "model")
    if path == "{}":
        # This one imports most; where the import path ends does not depend on the command.
        size = ("--epochs", "1", "--hidden", "4", "--embedding", "4")
        arguments = (
            "train",
            "lm",
            "-f",
            "demo",
            "-t",
            "encyclopedia",
            "--words",
            "1000",
            "-o",
            "lm",
            *size,
            "--evaluation-words",
            "400",
        )
    save_model(small_model(), here / "model")
    run((command(), *arguments), here, PYTHONPATH=path.format(ROOT / "src"))


def test_a_folder_that_the_user_names_is_imported_from(tmp_path: Path) -> None:
    here = canaries(tmp_path, {"polars"})
    code = ("-m", "txray", "compare", "a", "b")
    for variable in (str(here), "."):
        subprocess.run(
            [sys.executable, *code],
            cwd=here,
            env=environment(tmp_path) | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{variable}"},
            capture_output=True,
        )
        assert set(imported(here)) == {"polars"}
        (tmp_path / "imported" / "polars").unlink()


def served(process: subprocess.Popen[str]) -> str:
    """The address that `txray serve` prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rows_of(url: str) -> int:
    """Rows of the table of neurons, as soon as a worker has made them."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with direct.open(f"{url}rows/neurons?number=2", timeout=30) as answer:
            content = json.load(answer)
        assert "problem" not in content, content
        if "waiting" not in content:
            return int(content["total"])
        time.sleep(0.2)
    raise AssertionError("no rows")


@pytest.mark.parametrize("start", [("-m", "txray"), (command(),)], ids=["module", "command"])
def test_the_dashboard_and_its_workers_import_nothing_from_it(here: Path, start: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            *start,
            "serve",
            ONE,
            TWO,
            "--no-browser",
            "--port",
            "0",
            *TESTS,
            "--cache",
            here.parent / "c",
        ],
        cwd=here,
        env=environment(here.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that runs in the background ignores SIGINT, and so would the dashboard.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert rows_of(served(process)) == 8
        time.sleep(1)  # for jobs that are begun ahead
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert imported(here) == {}, errors[-2_000:]


SCRIPT = """
from txray import collect, demo_corpus, engines, load_model
from txray.corpus import annotators
import endings

corpus = demo_corpus("reviews", 500).annotate(annotators.words(endings.ending, "ending"))
stage = collect(load_model({model!r}), corpus, feature_types=["token", "ending"], name="s",
                engine=engines.Ray(workers=1, shards=2))
print(sorted(stage["rnn", "ending"].features)[:3], stage.manifest["words"])
"""
MODULE = "def ending(word):\n    return word[-1]\n"


@pytest.mark.parametrize("started", ["script", "text"])
def test_modules_beside_a_script_reach_the_workers_of_a_cluster(
    here: Path, tmp_path: Path, started: str
) -> None:
    """Ray sends functions of modules by name: its workers import them as the script did."""
    code = SCRIPT.format(model=str(here / "lm" / "epoch-001"))
    if started == "script":
        (tmp_path / "script").mkdir()
        (tmp_path / "script" / "endings.py").write_text(MODULE)
        (tmp_path / "script" / "main.py").write_text(code)
        # The script does not import from the working folder, so its workers do not, either.
        printed = run((tmp_path / "script" / "main.py",), here)
    else:
        elsewhere = canaries(tmp_path, set())
        (elsewhere / "endings.py").write_text(MODULE)
        printed = run(("-c", code), elsewhere)
    assert "500" in printed
