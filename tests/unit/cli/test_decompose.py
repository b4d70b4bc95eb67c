"""`txray decompose`: two models on two texts, or four stages."""

from __future__ import annotations

from pathlib import Path

import pytest

import txray
from txray.cli.main import run
from txray.models import language_model
from txray.models.snapshot import save_model


def exit_code(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as raised:
        run(arguments)
    return raised.value.code


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    text = txray.demo_corpus("reviews", words=2_000)
    for seed in (0, 1):
        save_model(language_model("gru", text, embedding=12, hidden=10, seed=seed), folder / str(seed))
    return [folder / "0", folder / "1"]


def test_models_and_then_their_stages(
    models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    texts = ["--format", "demo", "--text", "encyclopedia", "--text-b", "reviews", "--max-words", "2000"]
    options = ["--permutations", "20", "--names", "one,two"]
    figure = tmp_path / "figure.html"
    assert exit_code(
        ["decompose", *map(str, models), *texts, *options, "-o", str(out), "--figure", str(figure)]
    ) in (0, None)
    said = capsys.readouterr().out
    assert "encyclopedia → reviews, in two" in said
    assert "Interaction" in said
    assert figure.is_file()
    effects = txray.Decomposition.load(out / "decomposition")
    assert effects.models == ("one", "two")

    stages = [str(out / "stages" / name) for name in ("a-on-a", "a-on-b", "b-on-a", "b-on-b")]
    assert exit_code(["decompose", *stages, *options, "-o", str(tmp_path / "again")]) in (0, None)
    again = txray.Decomposition.load(tmp_path / "again" / "decomposition")
    assert again.margins.equals(effects.margins)
    assert (
        exit_code(
            ["plot", "decomposition", *stages, "-o", str(tmp_path / "plot.html"), "--permutations", "20"]
        )
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["A", "B"], ["--format", "--text-b", "--out"]),
        (["A", "B", "C"], ["A", "folder"]),
        (["A", "B", "C", "--text", "x"], ["3 inputs", "two models"]),
        (["A", "B", "--names", "same,same"], ["--format"]),
    ],
)
def test_wrong_calls_say_what_to_do(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert exit_code(["decompose", *arguments]) != 0
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    for word in words:
        assert word in error
