"""A plain loop that is watched: what is kept, what is told, and that training does not notice."""

from __future__ import annotations

import copy
import json
import random
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import txray
from tests.builders.tracking import FAST, Loop, RecordingLogger, same, spec, untrained
from txray.analysis import change_measures, stage_measures
from txray.errors import StageError, TrackingWarning, UnknownNameError, UsageError
from txray.models import TextModel
from txray.tracking import FIGURES, Tracker

BOTH = ("token", "pos")


def watched(
    folder: Path, steps: int = 5, every: int = 2, features: tuple[str, ...] = ("token",), **options: Any
) -> tuple[Loop, Tracker, Any]:
    """A training with a tracker."""
    loop = Loop(untrained())
    tracker = Tracker(spec(features), folder, every=every, **{**FAST, **options})
    tracker.begin(loop.model)
    for _ in range(steps):
        tracker.step(loop.model, loss=loop.step())
    return loop, tracker, tracker.end(loop.model)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of one step; to be copied."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    watched(folder, steps=1)
    return folder


@pytest.fixture
def record(recorded: Path, tmp_path: Path) -> Path:
    """The record of such a training."""
    return Path(shutil.copytree(recorded, tmp_path / "run")) / "tracking.json"


def test_looks_are_taken_before_every_so_many_steps_and_in_the_end(tmp_path: Path) -> None:
    logger = RecordingLogger()
    _, tracker, found = watched(tmp_path / "run", features=BOTH, loggers=[logger])
    names = ["step-000000", "step-000002", "step-000004", "step-000005"]
    assert [folder.name for folder in tracker.stages] == names
    assert [(folder.name, step) for folder, step in logger.stages] == list(
        zip(names, (0, 2, 4, 5), strict=True)
    )
    assert list(found) == ["token", "pos"]
    assert found["token"].names == names
    assert found["token"].stages["loss"].null_count() == 1
    assert (tmp_path / "run" / "timeline" / "pos" / "timeline.json").is_file()
    assert logger.closed == 1
    record = json.loads((tmp_path / "run" / "tracking.json").read_text())
    assert [look["number"] for look in record["measurements"]] == [0, 2, 4, 5]
    assert 0 < record["measurements"][1]["seconds"] < 60
    assert record["measurements"][1]["trained"] > 0


def test_training_does_not_notice(tmp_path: Path) -> None:
    bare = Loop(untrained())
    losses = [bare.step() for _ in range(5)]
    loop = Loop(untrained())
    tracker = Tracker(spec(), tmp_path / "run", **FAST)
    tracker.begin(loop.model)
    seen = []
    for _ in range(5):
        seen.append(loop.step())
        gradients = [parameter.grad.clone() for parameter in loop.model.parameters()]  # type: ignore[union-attr]
        tracker.step(loop.model)
        assert all(module.training for module in loop.model.modules())
        assert all(map(torch.equal, gradients, (parameter.grad for parameter in loop.model.parameters())))
    tracker.end(loop.model)
    assert seen == losses
    assert all(map(torch.equal, bare.model.state_dict().values(), loop.model.state_dict().values()))
    assert not loop.model.rnn._forward_hooks


def test_training_does_not_notice_models_that_draw_random_numbers_when_they_read(tmp_path: Path) -> None:
    def noisy(module: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor) -> object:
        return module(ids) + torch.rand(1) + np.random.rand() + random.random()

    module = torch.nn.Sequential(torch.nn.Embedding(50, 8), torch.nn.Linear(8, 8), torch.nn.ReLU())
    model = txray.TextModel(module, lambda words: [len(word) for word in words], forward=noisy)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1)
    expected = (random.random(), np.random.rand(), float(torch.rand(1)))
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1)
    tracker = Tracker(txray.CollectSpec(spec().corpus, ["2"], max_words=500), tmp_path / "run", **FAST)
    tracker.begin(model)
    tracker.step(model)
    tracker.end(model)
    assert (random.random(), np.random.rand(), float(torch.rand(1))) == expected


def test_what_is_told_of_a_step_stands_in_the_timeline(tmp_path: Path) -> None:
    logger = RecordingLogger()
    _, tracker, found = watched(tmp_path / "run", features=BOTH, loggers=[logger])
    for kind, story in found.items():
        steps = {name: int(name.split("-")[1]) for name in story.names}
        for row in story.stages.iter_rows(named=True):
            told = logger.values[steps[row["stage"]]]
            for name in stage_measures(txray.Stage.load(tracker.stages[0]), feature_type=kind):
                assert told.get(f"txray/rnn/{kind}/{name}") == row[name], name
        rows = story.changes.filter(pl.col("reference").is_in(["previous", "first"]))
        assert len(rows) == 6
        for row in rows.iter_rows(named=True):
            told = logger.values[steps[row["after"]]]
            for name in change_measures(story.steps["rnn"][0]):
                place = f"txray/rnn/{kind}/{row['reference']}/{name}"
                value = row[name]
                assert told.get(place) == (value and pytest.approx(value, rel=1e-12)), place
            assert told[f"txray/rnn/{kind}/{row['reference']}/changed"] <= 16
        assert logger.tables[f"txray/{kind}/changes", 5].equals(story.changes)
        assert logger.tables[f"txray/rnn/{kind}/most_changed", 5]["neuron"].n_unique() == 16
    assert ("txray/rnn/token/hellinger_length", 2) in logger.figures
    assert ("txray/rnn/token/hellinger_length", 0) not in logger.figures
    assert {name for name, step in logger.figures if "/pos/" in name and step == 5} == {
        f"txray/rnn/pos/{name}" for name in ("hellinger_length", "timeline", "distances", "flow")
    }


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_of_a_look_can_be_drawn(figure: str, tmp_path: Path) -> None:
    logger = RecordingLogger()
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrackingWarning)
        watched(tmp_path / "run", steps=1, features=BOTH, loggers=[logger], figures=[figure])
    assert {f"txray/rnn/{kind}/{figure}" for kind in ("token", "pos")} < {name for name, _ in logger.figures}


def test_without_tests_of_chance_the_rest_is_told(tmp_path: Path) -> None:
    logger = RecordingLogger()
    _, _, found = watched(tmp_path / "run", steps=2, loggers=[logger], permutations=0, figures=["volcano"])
    told = logger.values[2]
    assert "txray/rnn/token/previous/changed" not in told
    assert told["txray/rnn/token/previous/shared"] > 0
    assert told["txray/rnn/token/first/signal"] == found["token"].distances["signal"][0]
    assert not any("volcano" in name for name, _ in logger.figures)


class Broken(RecordingLogger):
    def scalars(self, values: Any, step: int) -> None:
        raise ConnectionError("no\nserver")


def test_a_logger_that_fails_is_told_of_once_and_does_not_stop_anything(tmp_path: Path) -> None:
    broken, sound = Broken(), RecordingLogger()
    with pytest.warns(TrackingWarning) as caught:
        _, tracker, _ = watched(tmp_path / "run", loggers=[broken, sound])
    told = [str(each.message) for each in caught if issubclass(each.category, TrackingWarning)]
    assert told == ["tracking: Broken failed: no server; training continues, and the stages are saved"]
    assert sorted(sound.values) == [0, 2, 4, 5]
    assert len(broken.stages) == len(tracker.stages) == 4


def test_a_look_that_fails_is_told_of_and_training_goes_on(tmp_path: Path) -> None:
    loop = Loop(untrained())
    tracker = Tracker(spec(), tmp_path / "run", **FAST)
    tracker.begin(loop.model)
    tracker.step(loop.model)
    weights = loop.model.rnn.weight_ih_l0
    kept = weights.detach().clone()
    with torch.no_grad():
        weights.fill_(float("nan"))
    with pytest.warns(TrackingWarning, match=r"no measurement at step 2: .*training continues"):
        tracker.step(loop.model)
    with torch.no_grad():
        weights.copy_(kept)
    tracker.step(loop.model)
    assert [folder.name for folder in tracker.stages] == ["step-000000", "step-000001", "step-000003"]
    tracker.end(loop.model)
    assert list(json.loads((tmp_path / "run" / "tracking.json").read_text())["failed"]) == ["2"]


def test_what_is_asked_wrongly_shows_at_the_beginning(tmp_path: Path) -> None:
    model = untrained()
    for options, told in (
        ({"unit": "word"}, "unit"),
        ({"figures": ["pie"]}, "figure of a measurement"),
        ({"weight": "heavy"}, "weight"),
    ):
        with pytest.raises(UnknownNameError, match=told):
            Tracker(spec(), tmp_path / "a", **options)  # type: ignore[arg-type]
    for options in ({"every": 0}, {"permutations": -1}, {"fdr": 1.0}, {"budget": -1.0}):
        with pytest.raises(UsageError, match=next(iter(options))):
            Tracker(spec(), tmp_path / "a", **options)  # type: ignore[arg-type]
    for option, wrong in (
        ("every", (2.5, True, "5", float("nan"))),
        ("permutations", ("5", 2.5, True)),
        ("budget", ("5", True, 5)),
        ("figures", ("volcano",)),
        ("loggers", ("tensorboard", RecordingLogger(), ["tensorboard"])),
    ):
        for value in wrong:
            with pytest.raises(UsageError, match="tracker: "):
                Tracker(spec(), tmp_path / "a", **{option: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="CollectSpec: corpus is a str"):
        txray.CollectSpec("text.txt", ["rnn"])  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="unknown layer 'rn'"):
        Tracker(txray.CollectSpec(spec().corpus, ["rn"]), tmp_path / "a").begin(model)
    assert not (tmp_path / "a").exists()


def test_a_budget_leaves_looks_out_and_says_how_many(tmp_path: Path) -> None:
    with pytest.warns(TrackingWarning, match=r"took .* more than the budget of 0%"):
        _, tracker, found = watched(tmp_path / "run", every=1, budget=1e-6)
    assert [folder.name for folder in tracker.stages] == ["step-000000", "step-000005"]
    assert (
        json.loads((tmp_path / "run" / "tracking.json").read_text())["postponed"] == 4
    )  # and the last one was taken
    assert found["token"].names == ["step-000000", "step-000005"]
    assert tracker.overhead_seconds > 0


def test_a_training_that_goes_on_goes_on_with_the_same_story(tmp_path: Path) -> None:
    _, _, whole = watched(tmp_path / "whole", steps=6)
    loop = Loop(untrained())
    tracker = Tracker(spec(), tmp_path / "parts", every=2, **FAST)
    tracker.begin(loop.model)
    for step in range(1, 6):
        tracker.step(loop.model, loss=loop.step())
        if step == 3:
            saved = copy.deepcopy(
                (loop.model.state_dict(), loop.optimizer.state_dict(), torch.get_rng_state())
            )
    first = tracker.stages[0] / "manifest.json"
    made = first.stat().st_mtime_ns
    # Interrupted after step 5, it goes on from what was saved after step 3.
    again = Loop(untrained(seed=9))
    again.model.load_state_dict(saved[0])
    again.optimizer.load_state_dict(saved[1])
    torch.set_rng_state(saved[2])
    resumed = Tracker(spec(), tmp_path / "parts", every=2, **FAST)
    resumed.begin(again.model, 3)
    assert [folder.name for folder in resumed.stages] == ["step-000000", "step-000002"]
    assert not (tmp_path / "parts" / "stages" / "step-000004").exists()
    for _ in range(3):
        resumed.step(again.model, loss=again.step())
    assert same(resumed.end(again.model), whole)
    assert first.stat().st_mtime_ns == made


def test_the_same_training_again_keeps_its_stages(tmp_path: Path) -> None:
    _, tracker, found = watched(tmp_path / "run")
    made = (tracker.stages[0] / "manifest.json").stat().st_mtime_ns
    _, again, told = watched(tmp_path / "run")
    assert (again.stages[0] / "manifest.json").stat().st_mtime_ns == made
    assert same(found, told)


def test_another_training_does_not_mix_with_the_first(tmp_path: Path) -> None:
    watched(tmp_path / "run", steps=1, features=BOTH)
    with pytest.raises(UsageError, match="began with other weights; give another folder"):
        Tracker(spec(BOTH), tmp_path / "run", **FAST).begin(untrained(seed=1))
    with pytest.raises(UsageError, match="holds a tracking with feature_types="):
        Tracker(spec(), tmp_path / "run", **FAST)
    with pytest.raises(UsageError, match=r"unit='step' \(requested: 'epoch'\)"):
        Tracker(spec(BOTH), tmp_path / "run", unit="epoch", **FAST)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="does not hold a tracking"):
        Tracker(spec(), tmp_path / "other")


def test_a_record_does_not_lead_out_of_its_folder(record: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    record.write_text(record.read_text().replace("step-000001", "../../mine"))
    with pytest.raises(StageError, match=r"damaged \(stage '../../mine'\)"):
        Tracker(spec(), tmp_path / "run", **FAST).begin(untrained())
    assert mine.is_dir()


def test_an_error_that_nobody_expects_does_not_end_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(untrained())
    tracker = Tracker(spec(), tmp_path / "run", **FAST)
    tracker.begin(loop.model)

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by\nzero")

    with monkeypatch.context() as patched:
        patched.setattr("txray.tracking.comparison_config.compare", broken)
        with pytest.warns(
            TrackingWarning, match="no measurement at step 1: ZeroDivisionError: by zero; training continues"
        ):
            tracker.step(loop.model)
    tracker.step(loop.model)
    assert tracker.end(loop.model)["token"].names == ["step-000000", "step-000002"]


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 2}', "\x00"])
def test_a_damaged_record_is_one_line(content: str, record: Path) -> None:
    record.write_text(content)
    with pytest.raises(StageError, match=r"tracking\.json") as caught:
        Tracker(spec(), record.parent)
    assert "\n" not in str(caught.value)


def test_the_story_of_many_looks_is_told_by_some_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("txray.tracking.tracker._MAX_STAGES", 3)
    _, tracker, found = watched(tmp_path / "run", steps=6, every=1)
    assert len(tracker.stages) == 7
    assert found["token"].names == ["step-000000", "step-000003", "step-000006"]


@pytest.mark.parametrize("at", ["stage", "record"])
def test_a_training_that_was_killed_in_its_first_look_begins_again(at: str, tmp_path: Path) -> None:
    loop = Loop(untrained())
    folder = tmp_path / "run"
    name = (
        "txray.preferences.stage.Stage.save"
        if at == "stage"
        else "txray.tracking.history.TrackingHistory.add"
    )
    with pytest.MonkeyPatch.context() as patched, pytest.raises(_KilledError):
        patched.setattr(name, _killed)
        Tracker(spec(), folder, **FAST).begin(loop.model)
    # What the signal that cannot be caught leaves of files that were being written.
    (folder / "stages").mkdir(exist_ok=True)
    for left in (folder / "stages" / ".txray-step-000000.x1", folder / ".txray-tracking.json.1-0"):
        left.mkdir()
    tracker = Tracker(spec(), folder, **FAST)
    tracker.begin(loop.model)
    tracker.step(loop.model, loss=loop.step())
    assert tracker.end(loop.model)["token"].names == ["step-000000", "step-000001"]
    assert not list(folder.rglob(".txray-*"))


class _KilledError(BaseException):
    pass


def _killed(*_: Any) -> None:
    raise _KilledError


def test_what_was_killed_before_it_wrote_anything_is_no_other_thing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / ".txray-tracking.json.1-0").mkdir(parents=True)
    Tracker(spec(), folder, **FAST).begin(untrained())
    assert (folder / "tracking.json").is_file()


@pytest.mark.parametrize(
    "loss",
    [
        torch.tensor(1.5),
        torch.tensor(0.75, requires_grad=True) * 2,
        np.float32(1.5),
        np.array(1.5),
        1.5,
    ],
    ids=["tensor", "with gradient", "float32", "array", "number"],
)
def test_a_score_may_be_whatever_holds_one_number(loss: Any, tmp_path: Path) -> None:
    loop = Loop(untrained())
    tracker = Tracker(spec(), tmp_path / "run", permutations=0)
    tracker.begin(loop.model, np.int64(0))
    loop.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        tracker.step(loop.model, loss=loss, missing=None)
    assert tracker.end(loop.model)["token"].stages["loss"].to_list() == [None, 1.5]
    record = json.loads((tmp_path / "run" / "tracking.json").read_text())
    assert record["measurements"][1]["metrics"] == {"loss": 1.5}


@pytest.mark.parametrize("scores", [{"loss": "low"}, {"loss": [1.0, 2.0]}, {"loss": 10**400}, {"stage": 1.0}])
def test_what_is_no_score_costs_one_look_and_nothing_else(scores: Any, tmp_path: Path) -> None:
    loop = Loop(untrained())
    tracker = Tracker(spec(), tmp_path / "run", permutations=0)
    tracker.begin(loop.model)
    with pytest.warns(TrackingWarning, match=f"no measurement at step 1: tracker: .*'{next(iter(scores))}'"):
        tracker.step(loop.model, **scores)
    loop.step()
    tracker.step(loop.model, loss=2.0)
    assert tracker.end(loop.model)["token"].names == ["step-000000", "step-000002"]


@pytest.mark.parametrize(
    "damage",
    [
        {"settings": None},
        {"settings": ["unit"]},
        {"postponed": float("inf")},
        {"measurements": [{"number": "0", "stage_name": "step-000000"}]},
        {"measurements": [{"number": 1, "stage_name": "step-000000"}]},
        {"measurements": [{"number": 0, "stage_name": "step-000000"}] * 2},
        {"measurements": [{"number": 0, "stage_name": "step-000000", "metrics": None}]},
        {"measurements": [{"number": 0, "stage_name": "step-000000", "metrics": {"loss": "low"}}]},
        {"measurements": [{"number": 0, "stage_name": "step-000000", "metrics": ["loss"]}]},
        {"measurements": [{"number": 0, "stage_name": "step-000000", "seconds": None}]},
    ],
)
def test_a_record_with_damaged_values_is_one_line(damage: dict[str, Any], record: Path) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text()), **damage}))
    with pytest.raises(StageError, match=r"tracking\.json: damaged") as caught:
        Tracker(spec(), record.parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gone", ["stages/step-000002", "."])
def test_a_folder_that_goes_while_a_training_runs_does_not_end_it(gone: str, tmp_path: Path) -> None:
    loop, logger = Loop(untrained()), RecordingLogger()
    tracker = Tracker(spec(), tmp_path / "run", loggers=[logger], **FAST)
    tracker.begin(loop.model)
    for number in range(1, 5):
        loop.step()
        if number == 3:
            shutil.rmtree(tmp_path / "run" / gone)
        tracker.step(loop.model)
    with pytest.warns(TrackingWarning, match=r"no timeline: .*no such folder.*are saved"):
        assert tracker.end(loop.model) == {}
    assert logger.closed == 1
    assert (tmp_path / "run" / "stages" / "step-000004").is_dir()


def test_what_is_looked_at_is_made_only_where_a_look_is_taken(tmp_path: Path) -> None:
    loop, made = Loop(untrained()), []

    def as_model(owner: Loop) -> Any:
        made.append(tracker.number)
        if len(made) == 2:
            raise ZeroDivisionError("not this time")
        return owner.model

    tracker = Tracker(spec(), tmp_path / "run", every=2, as_model=as_model, **FAST)
    tracker.begin(loop)  # type: ignore[arg-type]
    tracker.step(loop)  # type: ignore[arg-type]
    with pytest.warns(TrackingWarning, match="no measurement at step 2: ZeroDivisionError: not this time"):
        tracker.step(loop)  # type: ignore[arg-type]
    for _ in range(3):
        tracker.step(loop)  # type: ignore[arg-type]
    assert made == [0, 2, 4]
    assert [folder.name for folder in tracker.stages] == ["step-000000", "step-000004"]


def test_an_error_that_cannot_say_what_it_is_ends_no_training(tmp_path: Path) -> None:
    class Mute(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

    def as_model(owner: Any) -> Any:
        if tracker.number:
            raise Mute
        return owner

    loop = Loop(untrained())
    tracker = Tracker(spec(), tmp_path / "run", as_model=as_model, **FAST)
    tracker.begin(loop.model)
    with pytest.warns(TrackingWarning, match="no measurement at step 1: Mute: Mute; training continues"):
        tracker.step(loop.model)


def test_a_model_that_reads_otherwise_does_not_mix_with_the_first(tmp_path: Path) -> None:
    model = untrained()

    def reading(shift: int) -> TextModel:
        size = len(model.vocabulary)
        return TextModel(
            model,
            lambda words: [(i + shift) % size for i in model.vocabulary.encode(words)],
            lambda module, ids, mask: module.hidden_states(ids),  # type: ignore[operator]
        )

    Tracker(spec(), tmp_path / "run", **FAST).begin(reading(0))
    Tracker(spec(), tmp_path / "run", **FAST).begin(reading(0))
    with pytest.raises(UsageError, match="other code, such as another encode"):
        Tracker(spec(), tmp_path / "run", **FAST).begin(reading(1))
    with pytest.raises(UsageError, match=r"exemplars=8 \(requested: 3\)"):
        Tracker(replace(spec(), exemplars=3), tmp_path / "run", **FAST)
