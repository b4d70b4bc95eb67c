"""`txray collect`, `layers` and `similarity` with stored activations in place of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.texts import documents, small_model
from tests.unit.activations.test_foreign import activations, write_hdf5
from txray.cli.main import _exit_code
from txray.models import save_model
from txray.preferences import Stage


def txray(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("\n\n".join(" ".join(document.words) for document in documents(30)))
    return file


def test_saved_activations_take_the_place_of_the_model(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(small_model(), tmp_path / "model")
    acts, options = tmp_path / "acts", ("--format", "text", "--text", text)
    saving = ("--save-activations", acts, "--activations-type", "float32", "--activations-limit", 1)
    assert txray("collect", tmp_path / "model", *options, "--out", tmp_path / "s", *saving) == 0
    assert f"activations in {acts}" in capsys.readouterr().out
    assert txray("layers", acts) == 0
    listed = capsys.readouterr().out
    assert "rnn" in listed
    assert "stored float32" in listed
    assert txray("collect", acts, *options, "--out", tmp_path / "again", "--name", "s") == 0
    own = ("--format", "activations", "--text", acts)
    assert txray("collect", acts, *own, "--out", tmp_path / "own", "--name", "s") == 0
    stages = [Stage.load(tmp_path / name) for name in ("s", "again", "own")]
    for stage in stages[1:]:
        assert stage.layers == ("rnn",)
        assert (stage["rnn", "token"].sum == stages[0]["rnn", "token"].sum).all()
    assert txray("compare", tmp_path / "s", tmp_path / "again", "--permutations", 0) == 0
    assert txray("similarity", acts, tmp_path / "model", *options, "--layer", "rnn") == 0
    assert "603 words read by both" in capsys.readouterr().out


def test_a_file_of_neurox_needs_no_other_text(tmp_path: Path) -> None:
    file = write_hdf5(tmp_path / "acts.hdf5", activations())
    text = ("--format", "activations", "--text", file)
    assert txray("collect", file, *text, "--out", tmp_path / "s") == 0
    assert Stage.load(tmp_path / "s").layers == ("layer.0", "layer.1", "layer.2")


def test_what_cannot_be_done_is_said_in_one_line(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_hdf5(tmp_path / "acts.hdf5", activations())
    options = ("--format", "text", "--text", text, "--out", tmp_path / "s")
    assert txray("collect", file, *options, "--activations-type", "float16") == 2
    assert "need --save-activations" in capsys.readouterr().err
    assert txray("collect", file, *options, "--engine", "ray", "--workers", 1) == 2
    assert "stored activations" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    assert txray("collect", file, *options, "--save-activations", tmp_path / "mine") == 1
    assert "holds no activations" in capsys.readouterr().err
    assert txray("prune", "table", file, "rnn", "--format", "text", "--text", text) != 0


def test_options_that_contradict_stored_activations_are_refused_before_any_work(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(small_model(), tmp_path / "model")
    file = write_hdf5(tmp_path / "acts.hdf5", activations())
    read = ("--format", "text", "--text", text)

    def message(*arguments: object) -> str:
        assert txray("collect", *arguments, *read) == 2
        return capsys.readouterr().err

    out, inside = tmp_path / "s", tmp_path / "s" / "acts"
    assert "omit --base" in message(file, "--out", out, "--base", tmp_path / "model")
    named = message(file, "--out", out, "--through", tmp_path / "sae")
    assert "--layer: layer.0, layer.1, layer.2" in named
    for folder, stage in ((out, out), (inside, out), (out, inside)):
        assert "two separate folders" in message(
            tmp_path / "model", "--out", stage, "--save-activations", folder
        )
    limit = ("--save-activations", tmp_path / "a", "--activations-limit", "nan")
    assert "--activations-limit nan" in message(tmp_path / "model", "--out", out, *limit)
    assert not out.exists()
