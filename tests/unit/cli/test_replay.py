"""`txray replay` and `txray train --track`: the same story, from without and from within."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
import transformers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.builders.hub_folders import folder_of
from txray.cli.main import _exit_code
from txray.preferences import Stage

LM = (
    *("train", "lm", "-f", "demo", "-t", "encyclopedia", "--words", "3000", "--evaluation-words", "1200"),
    *("--epochs", "2", "--hidden", "12", "--embedding", "8", "--device", "cpu"),
)
TEXT = ("-f", "demo", "-t", "encyclopedia", "--split", "validation", "--max-words", "1200")


def txray(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


def test_a_tracked_training_and_its_replay_tell_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert txray(*LM, "--out", tmp_path / "lm", "--track", "--logger", "tensorboard") == 0
    capsys.readouterr()
    assert txray("replay", tmp_path / "lm", *TEXT, "--out", tmp_path / "again") == 0
    told = capsys.readouterr().out
    for shown in ("feature type token:", "epoch-002", "confident_gained", "perplexity", "txray serve"):
        assert shown in told
    assert EventAccumulator(str(tmp_path / "lm-tensorboard")).Reload().Tags()["scalars"]
    for name in ("stages", "changes", "flows", "distances"):
        live, replayed = (
            pl.read_parquet(folder / "timeline" / "token" / f"{name}.parquet")
            for folder in (tmp_path / "lm" / "tracking", tmp_path / "again")
        )
        assert live.equals(replayed)
    assert txray(*LM, "--out", tmp_path / "bare") == 0
    assert (tmp_path / "lm" / "epoch-002" / "model.safetensors").read_bytes() == (
        tmp_path / "bare" / "epoch-002" / "model.safetensors"
    ).read_bytes()


def test_adapters_are_replayed_on_a_base_that_was_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peft = pytest.importorskip("peft")
    base = folder_of("bert", tmp_path / "bert")
    for step in (1, 2):
        torch.manual_seed(1)
        model = transformers.AutoModel.from_pretrained(base)
        config = peft.LoraConfig(
            r=4, lora_alpha=64 * step, init_lora_weights=False, target_modules=["query", "intermediate.dense"]
        )
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "run" / f"checkpoint-{step}")
    base.rename(tmp_path / "moved")
    text = ("-f", "demo", "-t", "reviews", "--max-words", "400", "--permutations", "0")
    run = ("replay", tmp_path / "run", *text, "--out", tmp_path / "out")
    assert txray(*run) == 1
    assert "pass base (--base)" in capsys.readouterr().err.replace("\n", " ")
    assert txray(*run, "--base", tmp_path / "moved") == 0
    stages = [Stage.load(tmp_path / "out" / "stages" / f"step-00000{step}") for step in (1, 2)]
    # Without --layer: the MLP neurons, whose names hold a colon.
    layers = tuple(f"encoder.layer.{n}.output.dense:input" for n in range(2))
    assert stages[0].layers == stages[1].layers == layers
    assert stages[0].manifest["model"]["fingerprint"] != stages[1].manifest["model"]["fingerprint"]
    timeline = pl.read_parquet(tmp_path / "out" / "timeline" / "token" / "stages.parquet")
    assert set(timeline["layer"]) == set(layers)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (("replay", "nowhere", *TEXT, "-o", "{out}"), 1, "nowhere: no checkpoint"),
        (
            ("replay", "nowhere", *TEXT, "-o", "{out}", "--unit", "word"),
            2,
            "'word' is not one of 'step', 'epoch'",
        ),
        (("replay", "nowhere"), 2, "--format"),
        ((*LM, "-o", "{out}", "--budget", "0.1"), 2, "--budget 0.1 without --track"),
        ((*LM, "-o", "{out}", "--track", "--budget", "-1"), 2, "budget=-1.0"),
        ((*LM, "-o", "{out}", "--logger", "mlflow"), 2, "--logger ['mlflow'] without --track"),
        ((*LM, "-o", "{out}", "--track", "--logger", "wand"), 2, "did you mean 'wandb'"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], exit_code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert txray(*(argument.format(out=out) for argument in arguments)) == exit_code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert says in told.err
    assert not out.exists()
