"""The commands, from training to the report, on the embedded corpus; and one line for every mistake."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from txray.cli.main import _exit_code, run
from txray.cli.tables import print_table
from txray.corpus import demo_corpus
from txray.models import language_model, save_model
from txray.preferences import Stage


def txray(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained language model, a classifier, and three stages."""
    folder = tmp_path_factory.mktemp("cli")
    patch = pytest.MonkeyPatch()
    # All of the embedded text is more than these tests need.
    patch.setattr("txray.cli.options.DEMO_WORDS", 6_000)
    articles = ("--format", "demo", "--text", "encyclopedia")
    reviews = ("--format", "demo", "--text", "reviews")
    size = ("--embedding", 12, "--hidden", 20, "--vocabulary", 400, "--epochs", 2, "--batch-size", 8)
    assert txray("train", "lm", *articles, "--out", folder / "lm", *size) == 0
    assert (
        txray(
            "train", "classifier", folder / "lm/epoch-002", *reviews, "--out", folder / "clf", "--epochs", 1
        )
        == 0
    )
    kinds = ("--feature-type", "token", "--feature-type", "pos", "--max-words", 3_000)
    for name, model, text in (
        ("untrained", "lm/epoch-000", articles),
        ("early", "lm/epoch-001", articles),
        ("unsup", "lm/epoch-002", articles),
        ("sup", "clf/epoch-001", reviews),
    ):
        assert txray("collect", folder / model, *text, "--out", folder / name, *kinds) == 0
    patch.undo()
    (folder / "scores.csv").write_text("stage,perplexity\nuntrained,400\nearly,90\nunsup,80\nsup,70\n")
    return folder


def test_collect_names_the_stage_after_its_folder(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((made / "unsup" / "manifest.json").read_text())
    assert manifest["name"] == "unsup"
    assert manifest["words"] == 3_000
    assert manifest["features"] == ["token", "pos"]


def test_compare_writes_table_and_summary(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        txray("compare", made / "early", made / "unsup", "--out", tmp_path / "c", "--feature-type", "pos")
        == 0
    )
    summary = json.loads((tmp_path / "c" / "summary.json").read_text())
    table = pl.read_parquet(tmp_path / "c" / "neurons.parquet")
    assert summary["feature"] == "pos"
    assert summary["shared"] == (table["state"] == "shared").sum()
    assert pl.read_csv(tmp_path / "c" / "neurons.csv").height == 20
    told = capsys.readouterr().out
    assert "mean_hellinger" in told
    assert summary["changed"] == (table["q_value"] <= 0.05).sum()
    assert re.search(
        rf"5%\D*{summary['changed']} of {summary['tested']} tested neurons? changed significantly", told
    )
    plain = tmp_path / "plain"
    assert txray("compare", made / "early", made / "unsup", "--out", plain, "--permutations", 0) == 0
    assert "changed" not in json.loads((plain / "summary.json").read_text())
    told = capsys.readouterr().out
    assert "significant" not in told
    assert "Observed, not tested" in told


def test_compare_matches_texts_and_tests_what_it_is_told_to(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = ("compare", made / "early", made / "unsup", "--permutations", 50)
    for number, (options, matched, statistic) in enumerate(
        [
            (("--text-matched", "--statistic", "distance"), True, "distance"),
            (("--no-text-matched",), False, "chi-square"),
        ]
    ):
        out = tmp_path / str(number)
        assert txray(*stages, "--out", out, *options) == 0
        summary = json.loads((out / "summary.json").read_text())
        assert (summary["text_matched"], summary["statistic"]) == (matched, statistic)
        assert ("text-matched" in capsys.readouterr().out) is matched
    assert txray(*stages, "--statistic", "cosine") == 2
    assert "'cosine' is not one of 'chi-square'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.parquet"])
def test_match_writes_the_pairs(
    name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert txray("match", made / "early", made / "early", "--out", tmp_path / name) == 0
    read = pl.read_csv if name.endswith("csv") else pl.read_parquet
    pairs = read(tmp_path / name)
    matched = pairs.filter(pl.col("state") == "matched")
    assert (matched["before"] == matched["after"]).all()
    told = capsys.readouterr().out
    pairs = "1 pair matches" if matched.height == 1 else f"{matched.height} pairs match"
    assert pairs in told
    assert txray("match", made / "early", made / "unsup", "--out", tmp_path / "pairs.txt") == 2
    assert "there are: .parquet, .csv" in capsys.readouterr().err


def test_timeline_writes_its_tables(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = [made / name for name in ("untrained", "early", "unsup", "sup")]
    options = ("--scores", made / "scores.csv", "--permutations", 200, "--out", tmp_path / "t")
    assert txray("timeline", *stages, *options) == 0
    told = capsys.readouterr().out
    changes = pl.read_parquet(tmp_path / "t" / "changes.parquet")
    assert changes["before"].to_list()[:3] == ["untrained", "early", "unsup"]
    rho = json.loads((tmp_path / "t" / "timeline.json").read_text())["correlations"]["rnn: perplexity"]["rho"]
    assert f"(rho = {rho:.2f}, p = " in told
    assert "confident_gained" in told
    assert pl.read_csv(tmp_path / "t" / "stages.csv")["perplexity"].to_list() == [400, 90, 80, 70]


def test_a_folder_of_stages_stands_for_them(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tmp_path / "story"
    for name in ("untrained", "early", "unsup"):
        shutil.copytree(made / name, story / "stages" / name)
    few = ("--permutations", 20)
    assert txray("timeline", story, *few, "--scores", made / "scores.csv", "--out", tmp_path / "t") == 0
    # The table of a timeline holds the scores that it was given.
    told = tmp_path / "t" / "stages.csv"
    assert txray("timeline", story, *few, "--scores", told, "--out", tmp_path / "again") == 0
    assert (tmp_path / "again" / "stages.csv").read_bytes() == told.read_bytes()
    assert "perplexity" in told.read_text()
    assert txray("report", story, *few, "--out", tmp_path / "report.html") == 0
    capsys.readouterr()
    assert txray("merge", story, "--out", tmp_path / "merged") != 0
    assert "untrained" in capsys.readouterr().err, "all were opened, and are of one text"


@pytest.mark.parametrize(
    ("figure", "stages", "options"),
    [
        ("mass-activation", ("early", "unsup", "sup"), ()),
        ("pos-frequency", ("early", "unsup"), ()),
        ("hellinger-length", ("early", "unsup"), ()),
        ("length-shift", ("early", "unsup"), ("--feature-type", "pos")),
        ("states", ("early", "unsup"), ()),
        ("volcano", ("early", "unsup"), ("--permutations", 200)),
        ("timeline", ("untrained", "early", "unsup"), ("--permutations", 200, "--scores", "{scores}")),
        ("knowledge-flow", ("early", "unsup"), ("--permutations", 200)),
        ("stage-distances", ("untrained", "early", "unsup"), ()),
        ("pos-first", ("untrained", "early", "unsup"), ()),
        ("matching", ("early", "unsup"), ()),
        ("matching-curve", ("early", "unsup"), ("--layer", "rnn", "--layer-after", "rnn")),
        ("layer-affinity", ("early", "unsup"), ()),
        ("most-changed", ("early", "unsup"), ("-k", 4, "--min-wins", 10)),
        ("least-changed", ("early", "unsup"), ("-k", 4, "--min-wins", 10)),
        ("gained", ("early", "unsup"), ("-k", 3)),
        ("neuron", ("early", "unsup"), ("--neuron", "{strongest}")),
        ("curves", ("lm",), ()),
        ("curves", ("clf",), ()),
    ],
)
def test_plot_draws_every_figure(
    made: Path, tmp_path: Path, figure: str, stages: tuple[str, ...], options: tuple[object, ...]
) -> None:
    folders = [made / stage for stage in stages]
    strongest = Stage.load(made / "unsup").preferences().wins().argmax()
    given = [str(option).format(strongest=strongest, scores=made / "scores.csv") for option in options]
    assert txray("plot", figure, *folders, "--out", tmp_path / "f.json", *given) == 0
    drawn = json.loads((tmp_path / "f.json").read_text())
    assert drawn["data"]
    assert drawn["layout"]["title"]["text"]


def test_report_is_one_page(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        txray("report", made / "early", made / "unsup", "--out", tmp_path / "r.html", "--title", "A & B") == 0
    )
    page = (tmp_path / "r.html").read_text()
    assert "A &amp; B" in page
    assert capsys.readouterr().out.strip().endswith("r.html")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert txray("--version") == 0
    assert capsys.readouterr().out.startswith("txray 0.")
    assert txray("--help") == 0
    shown = capsys.readouterr().out
    for command in (
        "demo",
        "data",
        "tagger",
        "train",
        "collect",
        "compare",
        "match",
        "timeline",
        "replay",
        "similarity",
        "prune",
        "plot",
        "report",
        "serve",
        "experiment",
    ):
        assert command in shown


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    assert captured.err.startswith("txray: ")
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (("colect",), 2, "colect"),
        (("collect", "model"), 2, "--format"),
        (("compare", "nowhere", "nowhere"), 1, "nowhere: there is no such folder"),
        (("collect", "nowhere", "-f", "demo", "-t", "reviews", "-o", "x"), 1, "nowhere: no such folder"),
        (("collect", "{lm}", "-f", "demo", "-t", "review", "-o", "x"), 2, "did you mean 'reviews'"),
        (("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "x", "--memory", "nan"), 2, "--memory nan"),
        (("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "x", "--memory", "-1"), 2, "--memory -1"),
        (
            ("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "x", "--checkpoint", "inf"),
            2,
            "--checkpoint inf",
        ),
        (("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "x", "--folds", "0"), 2, "folds"),
        (("collect", "{lm}", "-f", "dem", "-t", "reviews", "-o", "x"), 2, "(did you mean 'demo'?)"),
        (("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "{early}"), 2, "add --replace"),
        (
            ("train", "lm", "-f", "text", "-t", "a.txt", "--test", "b.txt", "-o", "x"),
            2,
            "without --validation",
        ),
        (
            ("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "x", "--layer", "lstm"),
            2,
            "embedding, rnn",
        ),
        (
            ("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "x", "--feature-type", "ner"),
            2,
            "token, output, subword, label, pos",
        ),
        (
            ("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "x", "--selection", "max"),
            2,
            "max-k (such as max-5)",
        ),
        (("collect", "{lm}", "-f", "text", "-t", "nowhere.txt", "-o", "x"), 1, "nowhere.txt"),
        (("collect", "{lm}", "-f", "text", "-t", "nowhere.txt", "-o", "{lm}"), 1, "already exists"),
        (("collect", "{lm}", "-f", "demo", "-t", "reviews", "-o", "x", "--max-words", "0"), 2, "at least 1"),
        (("plot", "pie", "{early}", "-o", "f.json"), 2, "figure 'pie'"),
        (("plot", "pie", "nowhere", "-o", "f.json"), 2, "figure 'pie'"),
        (("plot", "states", "nowhere", "elsewhere", "-o", "f.gif"), 2, ".gif"),
        (("report", "nowhere", "elsewhere", "-o", "r.pdf"), 2, "r.pdf"),
        (("plot", "states", "{early}", "-o", "f.json"), 2, "2 stages, got 1"),
        (("plot", "neuron", "{early}", "-o", "f.json"), 2, "--neuron"),
        (("plot", "neuron", "{early}", "-o", "f.json", "--neuron", "20"), 2, "no neuron 20"),
        (("plot", "states", "{early}", "{unsup}", "-o", "f.tiff"), 2, ".tiff"),
        (("plot", "curves", "{early}", "-o", "f.json"), 1, "training run"),
        (("compare", "{early}", "{unsup}", "--feature-type", "output"), 2, "there are: token, pos"),
        (("compare", "{early}", "{unsup}", "--layer", "decoder"), 2, "there are: rnn"),
        (
            ("compare", "{early}", "{unsup}", "--weight", "sum"),
            2,
            "'sum' is not one of 'mean', 'mass', 'count'",
        ),
        (("compare", "{early}", "{unsup}", "--distance", "cosine"), 2, "'cosine' is not one of 'hellinger'"),
        (("compare", "{early}", "{unsup}", "--fdr", "5"), 2, "fdr=5.0; it must lie between 0 and 1"),
        (
            ("compare", "{early}", "{unsup}", "--permutations", "-1"),
            2,
            "permutations=-1",
        ),
        (
            ("match", "{early}", "{unsup}", "--false-match-rate", "0"),
            2,
            "false_match_rate=0.0; pass a number between 0 and 1",
        ),
        (("report", "{early}", "-o", "r.html"), 2, "at least two"),
        (("timeline", "{early}"), 2, "pass at least two"),
        (("timeline", "{early}", "{unsup}", "--layer", "lstm"), 2, "layer of every stage 'lstm'"),
        (("timeline", "{early}", "{unsup}", "--scores", "s.txt"), 2, "there are: .parquet, .csv"),
        (("timeline", "{early}", "{unsup}", "--scores", "s.csv"), 1, "s.csv"),
        (("timeline", "{early}", "{unsup}", "--permutations", "-1"), 2, "permutations=-1"),
        (
            ("plot", "volcano", "{early}", "{unsup}", "--permutations", "0", "-o", "f.json"),
            2,
            "not been tested",
        ),
        (("plot", "timeline", "{early}", "-o", "f.json"), 2, "at least two"),
        (
            ("plot", "most-changed", "{early}", "{unsup}", "--feature-type", "pos", "-o", "f.json"),
            2,
            "--feature-type pos",
        ),
        (
            ("plot", "layer-affinity", "{early}", "{unsup}", "--layer", "rnn", "-o", "f.json"),
            2,
            "leave --layer",
        ),
        (("compare", "{early}", "{unsup}", "-o", "{lm}"), 1, "already exists"),
        (("timeline", "{early}", "{unsup}", "-o", "{lm}"), 1, "already exists"),
        (("experiment", "--preset", "huge", "-o", "x"), 2, "'huge' is not one of 'demo', 'small', 'paper'"),
        (("experiment", "--preset", "small", "-o", "x"), 2, "--wikitext, --imdb, --conllu"),
        (
            ("train", "lm", "-f", "demo", "-t", "encyclopedia", "-o", "x", "--cell", "lstn"),
            2,
            "'lstn' is not one of 'lstm'",
        ),
        (("train", "lm", "-f", "demo", "-t", "encyclopedia", "-o", "x", "--hidden", "0"), 2, "hidden=0"),
        (("train", "classifier", "{early}", "-f", "demo", "-t", "reviews", "-o", "x"), 1, "model.json"),
        (("compar",), 2, "--help"),
        (("compare",), 2, "compare --help"),
        (("plot", "nonsense", "x", "-o", "x.html"), 2, "sparsity"),
        (("data", "fetch", "wikitext-3"), 2, "did you mean 'wikitext-2'"),
        (("tagger", "train", "nowhere.conllu", "-o", "x"), 1, "nowhere.conllu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_mistake_is_one_line(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    exit_code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("txray.cli.options.DEMO_WORDS", 6_000)
    names = {"lm": made / "lm/epoch-001", "early": made / "early", "unsup": made / "unsup"}
    assert txray(*(argument.format(**names) for argument in arguments)) == exit_code
    assert says in one_line(capsys)
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_an_interruption_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("txray.preferences.Stage.load", interrupted)
    assert txray("compare", "a", "b") == 130
    assert "Interrupted" in one_line(capsys)


def test_a_bug_is_one_line_and_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("txray.preferences.Stage.load", broken)
    assert txray("compare", "a", "b") == 1
    assert "ZeroDivisionError: a b; set TXRAY_TRACEBACK=1" in one_line(capsys)
    monkeypatch.setenv("TXRAY_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        txray("compare", "a", "b")


def test_run_leaves_with_the_exit_code() -> None:
    with pytest.raises(SystemExit) as leaving:
        run(["compare", "nowhere", "nowhere"])
    assert leaving.value.code == 1


def test_python_runs_the_package_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "txray", "plto"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("txray: ")
    assert "plto" in done.stderr


def test_nothing_steers_the_terminal(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "a.jsonl"
    text.write_text('{"words": ["a"], "\\u001b[31mRED\\u001b]0;own\\u0007": ["x"]}\n')
    where = ("-f", "jsonl", "-t", text, "-o", tmp_path / "x")
    assert txray("collect", made / "lm/epoch-001", *where, "--feature-type", "foo") == 2
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert r"\x1b[31mRED" in told.err
    name = ("--name", "\x1b[31mred\x07")
    where = ("-f", "demo", "-t", "reviews", "--max-words", 200)
    assert txray("collect", made / "lm/epoch-001", *where, "-o", tmp_path / "red", *name) == 0
    assert txray("compare", tmp_path / "red", made / "unsup") == 0
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (("compare", "a\udcff", "b"), 2, "not UTF-8"),
        (("compare", "x" * 300, "y"), 1, "File name too long"),
        (
            ("train", "lm", "-f", "demo", "-t", "reviews", "-o", "x", "--hidden", str(10**19)),
            2,
            "from 1 to 1,000,000",
        ),
        (
            ("train", "lm", "-f", "demo", "-t", "reviews", "-o", "x", "--layers", str(10**21)),
            2,
            "from 1 to 1,000",
        ),
        (("train", "lm", "-f", "demo", "-t", "reviews", "-o", "x", "--seed", str(2**64)), 2, "2^63"),
    ],
    ids=["surrogate", "long path", "hidden", "layers", "seed"],
)
def test_extremes_are_one_line(
    arguments: tuple[str, ...],
    exit_code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("txray.cli.options.DEMO_WORDS", 2_000)
    assert txray(*arguments) == exit_code
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert "unexpected" not in told


def test_a_warning_is_one_line(tmp_path: Path) -> None:
    corpus = demo_corpus("reviews", words=500)
    model = language_model("lstm", corpus, embedding=4, hidden=6)
    with torch.no_grad():
        model.rnn.bias_ih_l0.add_(torch.tensor([9.0, 0, 0, 0, 0, 0] * 4))
    save_model(model, tmp_path / "m")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "txray",
            "collect",
            "m",
            "-f",
            "demo",
            "-t",
            "reviews",
            "--max-words",
            "300",
            "-o",
            "s",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("txray: warning: layer 'rnn': neuron 0 wins")
    assert "'max-1/zscore'" in line


def test_tables_on_a_terminal_keep_names_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("COLUMNS", "80"), ("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    numbers = {f"confident_{name}": [1, 2] for name in ("avoided", "gained", "shared", "undecided", "others")}
    print_table(pl.DataFrame({"layer": ["encoder.0", "encoder.1"], "stage": ["epoch-001"] * 2, **numbers}))
    told = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, told.splitlines())) <= 80
    for name in ("encoder.0", "encoder.1", "epoch-001", "confident", "avoided"):
        assert name in told, told


def test_tables_in_a_pipe_are_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    name = "encoder.layer.0.attention.self.query." * 4
    print_table(pl.DataFrame({"layer": [name], "layout": ["batch-time-neurons" * 3]}))
    assert any(
        name in line and "batch-time-neurons" * 3 in line for line in capsys.readouterr().out.splitlines()
    )


def test_text_is_read_as_options_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"text": ["the don't <unk>", "a&nbsp;b<br />c"]}).write_parquet(tmp_path / "a.parquet")
    model = tmp_path / "model"
    save_model(language_model("lstm", demo_corpus("reviews", words=200), embedding=4, hidden=4), model)
    asked = ["collect", model, "--format", "parquet", "--text", tmp_path / "a.parquet"]
    words = {}
    for options in ((), ("--tokenized",), ("--html",), ("--tokenized", "--html")):
        out = tmp_path / "-".join(("out", *options))
        assert txray(*asked, *options, "--out", out) == 0
        words[options] = Stage.load(out).manifest["words"]
    assert words["--tokenized",] == 5  # the, don't, <unk>, a&nbsp;b<br, />c
    assert words["--tokenized", "--html"] == 6  # the, don't, <unk>, a, b, c
    assert words["--html",] == 9  # the, do, n't, <, unk, >, a, b, c
    assert words[()] > 9
    capsys.readouterr()
    demo = ["collect", model, "--format", "demo", "--text", "reviews", "--html", "--out", tmp_path / "demo"]
    assert txray(*demo) == 2
    assert "--html" in capsys.readouterr().err
