"""The callback inside real trainings by transformers: bit-identical with and without, and as replayed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

import txray
from tests.builders.hub_folders import folder_of
from tests.builders.tracking import FAST, same
from txray.errors import TrackingWarning, UsageError
from txray.tracking import CollectSpec, HuggingFaceCallback, replay
from txray.tracking.trainer_state import logged_metrics

REVIEWS = txray.demo_corpus("reviews", words=3_000)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of("bert", tmp_path_factory.mktemp("bert"))


def untrained(folder: Path) -> BertForSequenceClassification:
    set_seed(3)
    config = BertConfig.from_pretrained(folder)
    assert config.hidden_dropout_prob > 0
    return BertForSequenceClassification(config)


def trainer(folder: Path, model: Any, out: Path, *callbacks: Any, **options: Any) -> Trainer:
    """Twelve steps, in two epochs, with a checkpoint after every fourth."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    shape = {"truncation": True, "max_length": 32, "padding": "max_length"}
    data = [
        {**tokenizer(" ".join(each.words), **shape), "labels": int(each.labels["label"] == "pos")}
        for each in list(REVIEWS)[:24]
    ]
    settings = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "save_steps": 4,
        "logging_steps": 2,
        "learning_rate": 1e-3,
        "seed": 1,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "log_level": "error",
        **options,
    }
    return Trainer(
        model,
        TrainingArguments(str(out), **settings),
        train_dataset=data,
        eval_dataset=data[:8],
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )


def spec() -> CollectSpec:
    """One layer and one type of feature, because every step compares each of them with all steps before."""
    return CollectSpec(REVIEWS, ["bert.encoder.layer.0.intermediate"], ["token"], max_words=1_500)


def full_spec() -> CollectSpec:
    return CollectSpec(REVIEWS, ["bert.encoder.layer.*.intermediate"], ["token", "pos"], max_words=1_500)


def history(trainer: Trainer) -> list[dict[str, Any]]:
    """What was logged, but for times."""
    return [
        {name: value for name, value in entry.items() if "runtime" not in name and "per_second" not in name}
        for entry in trainer.state.log_history
    ]


def test_training_is_bit_identical_and_its_story_the_replayed_one(bert: Path, tmp_path: Path) -> None:
    bare = trainer(bert, untrained(bert), tmp_path / "bare")
    bare.train()
    drawn = torch.rand(1)

    callback = HuggingFaceCallback(full_spec(), tmp_path / "live", every=4, **FAST)
    watched = trainer(bert, untrained(bert), tmp_path / "watched", callback)
    before = tmp_path / "watched" / "checkpoint-0"
    watched.model.save_pretrained(before)
    watched.processing_class.save_pretrained(before)
    watched.train()
    assert torch.equal(torch.rand(1), drawn)
    weights = [each.model.state_dict() for each in (bare, watched)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert history(bare) == history(watched)

    names = ["step-000000", "step-000004", "step-000008", "step-000012"]
    assert callback.timelines["token"].names == names
    assert callback.timelines["token"].stages["loss"].null_count() == 2  # of two layers, before any step
    replayed = replay([tmp_path / "watched"], full_spec(), tmp_path / "replayed", **FAST)
    assert same(replayed, callback.timelines)
    for name in names:
        manifests = [
            json.loads((tmp_path / run / "stages" / name / "manifest.json").read_text())
            for run in ("live", "replayed")
        ]
        assert manifests[0]["model"] == manifests[1]["model"]


def test_a_training_that_goes_on_from_a_checkpoint(bert: Path, tmp_path: Path) -> None:
    whole = HuggingFaceCallback(spec(), tmp_path / "whole", every=4, **FAST)
    trainer(bert, untrained(bert), tmp_path / "a", whole).train()

    class Stops(HuggingFaceCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            super().on_step_end(args, state, control, **given)
            if state.global_step == 10:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(
            bert, untrained(bert), tmp_path / "b", Stops(spec(), tmp_path / "parts", every=4, **FAST)
        ).train()
    rest = HuggingFaceCallback(spec(), tmp_path / "parts", every=4, **FAST)
    trainer(bert, untrained(bert), tmp_path / "b", rest).train(
        resume_from_checkpoint=str(tmp_path / "b" / "checkpoint-8")
    )
    assert same(rest.timelines, whole.timelines)


def test_epochs_and_scores_of_evaluations(bert: Path, tmp_path: Path) -> None:
    callback = HuggingFaceCallback(spec(), tmp_path / "live", every=1, unit="epoch", **FAST)
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    trainer(bert, untrained(bert), tmp_path / "run", callback, **settings).train()
    stages = callback.timelines["token"].stages
    assert stages["stage"].unique(maintain_order=True).to_list() == ["epoch-000", "epoch-001", "epoch-002"]
    assert set(callback.timelines["token"].scores) == {"loss", "eval_loss"}
    replayed = replay([tmp_path / "run"], spec(), tmp_path / "again", unit="epoch", **FAST)
    assert replayed["token"].names == ["epoch-001", "epoch-002"]
    assert replayed["token"].stages["eval_loss"].to_list() == [
        value for name, value in zip(stages["stage"], stages["eval_loss"], strict=True) if name != "epoch-000"
    ]


def test_the_last_stage_is_of_the_last_step_and_not_of_the_best_model(bert: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 4, "learning_rate": 0.05}
    plain = HuggingFaceCallback(spec(), tmp_path / "plain", every=100, **FAST)
    trainer(bert, untrained(bert), tmp_path / "a", plain, **settings).train()
    callback = HuggingFaceCallback(spec(), tmp_path / "best", every=100, **FAST)
    made = trainer(bert, untrained(bert), tmp_path / "b", callback, load_best_model_at_end=True, **settings)
    made.train()
    assert made.state.best_global_step < 12
    last = [
        json.loads((tmp_path / run / "stages" / "step-000012" / "manifest.json").read_text())["model"]
        for run in ("plain", "best")
    ]
    assert last[0] == last[1]
    assert callback.timelines["token"].names == ["step-000000", "step-000012"]


@pytest.mark.parametrize(("strategy", "unit"), [("steps", "step"), ("epoch", "step"), ("epoch", "epoch")])
def test_a_training_that_an_evaluation_ends_is_looked_at_before_the_best_model_comes(
    strategy: str, unit: Any, bert: Path, tmp_path: Path
) -> None:
    class Stops(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = True

    callback = HuggingFaceCallback(spec(), tmp_path / "live", every=100, unit=unit, **FAST)
    settings = {"eval_strategy": strategy, "save_strategy": strategy, "eval_steps": 4}
    made = trainer(
        bert, untrained(bert), tmp_path / "a", callback, Stops(), load_best_model_at_end=True, **settings
    )
    made.train()
    last = "epoch-001" if unit == "epoch" else f"step-{made.state.global_step:06}"
    assert made.state.global_step < 12
    assert [folder.name for folder in callback.tracker.stages][1:] == [last]


def test_an_epoch_that_ends_early_is_not_the_one_before(bert: Path, tmp_path: Path) -> None:
    callback = HuggingFaceCallback(spec(), tmp_path / "live", every=1, unit="epoch", **FAST)
    trainer(bert, untrained(bert), tmp_path / "a", callback, max_steps=3).train()
    assert callback.timelines["token"].names == ["epoch-000", "epoch-001"]
    longer = HuggingFaceCallback(spec(), tmp_path / "longer", every=1, unit="epoch", **FAST)
    trainer(bert, untrained(bert), tmp_path / "b", longer, max_steps=8).train()
    assert longer.timelines["token"].names == ["epoch-000", "epoch-001", "epoch-002"]


def test_what_becomes_of_the_folder_does_not_end_a_training(bert: Path, tmp_path: Path) -> None:
    class Removes(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 6:
                shutil.rmtree(tmp_path / "live" / "stages")

    callback = HuggingFaceCallback(spec(), tmp_path / "live", every=4, **FAST)
    made = trainer(bert, untrained(bert), tmp_path / "a", callback, Removes())
    with pytest.warns(TrackingWarning, match="no timeline"):
        made.train()
    assert made.state.global_step == 12


def test_what_the_trainer_lacks_is_told_in_one_line(bert: Path, tmp_path: Path) -> None:
    made = trainer(bert, untrained(bert), tmp_path / "run", HuggingFaceCallback(spec(), tmp_path / "live"))
    made.callback_handler.processing_class = None
    with pytest.raises(UsageError, match="no processing_class") as caught:
        made.train()
    assert "\n" not in str(caught.value)


def test_other_processes_than_the_first_do_not_look(bert: Path, tmp_path: Path) -> None:
    class Other(HuggingFaceCallback):
        def on_init_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            state.is_world_process_zero = False

        def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            state.is_world_process_zero = False
            super().on_train_begin(args, state, control, **given)

    callback = Other(spec(), tmp_path / "live", every=1, **FAST)
    trainer(bert, untrained(bert), tmp_path / "run", callback, max_steps=2).train()
    assert not (tmp_path / "live").exists()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_models_with_byte_level_tokenizers_are_watched_as_they_are(family: str, tmp_path: Path) -> None:
    folder = folder_of(family, tmp_path / family)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    layer = "transformer.h.1.mlp" if family == "gpt2" else "model.layers.1.mlp"
    asked = CollectSpec(REVIEWS, [layer], max_words=600)
    in_memory = asked.collect(txray.models.from_transformers(model, tokenizer), "a")
    on_disk = asked.collect(txray.models.hugging_face(folder, head="saved"), "a")
    one, other = (stage.preferences().table() for stage in (in_memory, on_disk))
    assert one.equals(other)


def test_scores_are_what_was_logged_so_far_and_no_times() -> None:
    logged = [
        {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.1, "epoch": 0.5, "step": 2},
        {"eval_loss": 1.5, "eval_runtime": 3.0, "eval_samples_per_second": 9.0, "epoch": 1.0, "step": 4},
        {"loss": 1.0, "epoch": 1.5, "step": 6},
        {"train_runtime": 9.0, "train_loss": 1.5, "total_flos": 8.0, "epoch": 1.5, "step": 6},
    ]
    assert logged_metrics(logged, 1, "step") == {}
    assert logged_metrics(logged, 5, "step") == {"loss": 2.0, "eval_loss": 1.5}
    assert logged_metrics(logged, 6, "step") == {"loss": 1.0, "eval_loss": 1.5}
    assert logged_metrics(logged, 1, "epoch") == {"loss": 2.0, "eval_loss": 1.5}


def test_texts_longer_than_a_model_with_a_head_reads_do_not_end_its_training(tmp_path: Path) -> None:
    """Where the tokenizer does not say how much that is."""
    folder = folder_of("roberta", tmp_path / "roberta")
    described = json.loads((folder / "tokenizer_config.json").read_text())
    del described["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    model = RobertaForSequenceClassification(RobertaConfig.from_pretrained(folder))
    asked = CollectSpec(REVIEWS, ["roberta.encoder.layer.1.intermediate"], max_words=1_500)
    callback = HuggingFaceCallback(asked, tmp_path / "live", every=1, **FAST)
    trainer(folder, model, tmp_path / "run", callback, max_steps=2).train()
    stage = callback.timelines["token"].names
    assert stage == ["step-000000", "step-000001", "step-000002"]
    assert txray.models.from_transformers(model, AutoTokenizer.from_pretrained(folder)).max_length == 64
