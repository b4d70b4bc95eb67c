"""Two models read two texts: the stages are stored, and an interrupted call resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import txray
from txray.capture import decompose as module
from txray.capture.decompose import decompose
from txray.errors import UsageError
from txray.models import language_model
from txray.preferences import Stage
from txray.preferences.manifest import MANIFEST

CELLS = ("a-on-a", "a-on-b", "b-on-a", "b-on-b")


@pytest.fixture(scope="module")
def texts() -> list[txray.Corpus]:
    return [txray.demo_corpus(name, words=2_000) for name in ("encyclopedia", "reviews")]


@pytest.fixture(scope="module")
def models(texts: list[txray.Corpus]) -> list[torch.nn.Module]:
    text = texts[0].concat(texts[1])
    return [language_model("gru", text, embedding=12, hidden=10, seed=seed) for seed in (0, 1)]


def test_both_models_read_both_texts(
    models: list[torch.nn.Module], texts: list[txray.Corpus], tmp_path: Path
) -> None:
    effects = decompose(*models, *texts, out=tmp_path / "out", permutations=20, models=("one", "two"))
    stages = [Stage.load(tmp_path / "out" / "stages" / name) for name in CELLS]
    for number, stage in enumerate(stages):
        direct = txray.collect(models[number // 2], texts[number % 2], name=stage.name)
        assert stage.manifest["model"] == direct.manifest["model"]
        assert stage.preferences().table().equals(direct.preferences().table())
    assert effects.models == ("one", "two")
    assert effects.texts == ("encyclopedia", "reviews")
    of_stages = txray.Decomposition.of(tmp_path / "out", permutations=20)
    assert of_stages.margins.equals(effects.margins)
    without = decompose(*models, *texts, permutations=20)
    assert without.margins.equals(effects.margins)


def test_an_interrupted_call_resumes(
    models: list[torch.nn.Module],
    texts: list[txray.Corpus],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collected: list[str] = []
    collect = module.collect

    def failing(*args: object, **options: object) -> Stage:
        collected.append(str(options["name"]))
        if len(collected) == 3:
            raise KeyboardInterrupt
        return collect(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "collect", failing)
    with pytest.raises(KeyboardInterrupt):
        decompose(*models, *texts, out=tmp_path / "out", permutations=20)
    assert [(tmp_path / "out/stages" / name / MANIFEST).exists() for name in CELLS] == [
        True,
        True,
        False,
        False,
    ]
    decompose(*models, *texts, out=tmp_path / "out", permutations=20)
    assert collected[3:] == ["B on encyclopedia", "B on reviews"]


def test_a_folder_of_other_models_texts_or_settings_is_refused(
    models: list[torch.nn.Module], texts: list[txray.Corpus], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    decompose(*models, *texts, out=out, permutations=20)
    with pytest.raises(UsageError, match="differs in models"):
        decompose(*models[::-1], *texts, out=out)
    with pytest.raises(UsageError, match="differs in texts"):
        decompose(*models, *texts, out=out, max_words=500)
    with pytest.raises(UsageError, match="selection='max-1'"):
        decompose(*models, *texts, out=out, selection="max-2")
    (out / "decompose.json").write_text("{")
    with pytest.raises(UsageError, match=r"decompose\.json: damaged"):
        decompose(*models, *texts, out=out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("x")
    with pytest.raises(UsageError, match="does not hold a decomposition"):
        decompose(*models, *texts, out=other)


@pytest.mark.parametrize(
    "options", [{"fdr": 2}, {"permutations": 0}, {"models": ("A", "A")}, {"texts": ("a",)}, {"seed": -1}]
)
def test_wrong_arguments_are_refused_before_a_model_runs(
    options: dict[str, object],
    models: list[torch.nn.Module],
    texts: list[txray.Corpus],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "collect", lambda *args, **settings: pytest.fail("a model ran"))
    with pytest.raises(UsageError):
        decompose(*models, *texts, **options)  # type: ignore[arg-type]


def test_layers_of_the_lock_are_plain_text(
    models: list[torch.nn.Module], texts: list[txray.Corpus], tmp_path: Path
) -> None:
    decompose(*models, *texts, layers=txray.Layer("rnn"), out=tmp_path / "out", permutations=20)
    assert json.loads((tmp_path / "out" / "decompose.json").read_text())["layers"] == ["rnn"]
