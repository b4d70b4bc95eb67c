"""Checkpoints of every kind, found, refused, and followed; interrupted and gone on with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders.hub_folders import folder_of
from tests.builders.tracking import FAST, RecordingLogger, same, spec, untrained
from txray.capture import Selection, collect
from txray.errors import SnapshotError, UnknownNameError, UsageError
from txray.models import TextModel, save_model
from txray.preferences import Stage
from txray.tracking import CollectSpec, find_checkpoints, replay
from txray.tracking import collect_spec as probes


@pytest.fixture
def snapshots(tmp_path: Path) -> list[Path]:
    """Three models that differ, as if they were of one training."""
    folders = []
    for epoch in range(3):
        model = untrained()
        with torch.no_grad():
            model.rnn.weight_ih_l0 += (
                0.4
                * epoch
                * torch.randn(model.rnn.weight_ih_l0.shape, generator=torch.Generator().manual_seed(epoch))
            )
        folders.append(tmp_path / f"epoch-{epoch:03d}")
        save_model(model, folders[-1], epoch=epoch)
    return folders


def replayed(snapshots: list[Path], out: Path, **options: Any) -> Any:
    return replay(snapshots, spec(), out, **{**FAST, **options})


def times(out: Path) -> dict[str, int]:
    return {file.parent.name: file.stat().st_mtime_ns for file in out.glob("stages/*/manifest.json")}


def test_an_interrupted_replay_goes_on_where_it_stopped(
    snapshots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replayed(snapshots, tmp_path / "whole")
    collect = probes.collect

    def interrupted(*given: Any, **options: Any) -> Any:
        if options["name"] == "epoch-002":
            raise KeyboardInterrupt
        return collect(*given, **options)

    monkeypatch.setattr(probes, "collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replayed(snapshots, tmp_path / "parts")
    made = times(tmp_path / "parts")
    assert sorted(made) == ["epoch-000", "epoch-001"]
    asked = []
    monkeypatch.setattr(
        probes,
        "collect",
        lambda *given, **options: asked.append(options["name"]) or collect(*given, **options),
    )
    logger = RecordingLogger()
    assert same(replayed(snapshots, tmp_path / "parts", loggers=[logger]), whole)
    assert asked == ["epoch-002"]
    assert made.items() < times(tmp_path / "parts").items()
    # What is compared with an earlier stage is compared with the right one.
    assert logger.values[2]["txray/rnn/token/previous/hellinger"] == pytest.approx(
        whole["token"].changes["hellinger"][1], rel=1e-12
    )


def test_checkpoints_that_have_come_or_changed_or_gone_are_noticed(
    snapshots: list[Path], tmp_path: Path
) -> None:
    replayed(snapshots[:2], tmp_path / "out")
    first = times(tmp_path / "out")
    replayed(snapshots, tmp_path / "out")
    assert first.items() < times(tmp_path / "out").items()
    save_model(untrained(seed=8), snapshots[1], epoch=1)
    changed = replayed(snapshots, tmp_path / "out")
    after = times(tmp_path / "out")
    assert after["epoch-001"] != first["epoch-001"]
    assert after["epoch-000"] == first["epoch-000"]
    assert same(changed, replayed(snapshots, tmp_path / "fresh"))
    fewer = replayed([snapshots[0], snapshots[2]], tmp_path / "out")
    assert fewer["token"].names == ["epoch-000", "epoch-002"]
    assert sorted(times(tmp_path / "out")) == ["epoch-000", "epoch-002"]


def test_a_stage_that_is_damaged_is_collected_again(snapshots: list[Path], tmp_path: Path) -> None:
    whole = replayed(snapshots, tmp_path / "out")
    broken = tmp_path / "out" / "stages" / "epoch-001" / "preferences.token.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    assert same(replayed(snapshots, tmp_path / "out"), whole)


def test_the_order_of_the_paths_does_not_matter(snapshots: list[Path], tmp_path: Path) -> None:
    assert same(replayed(snapshots[::-1], tmp_path / "a"), replayed(snapshots, tmp_path / "b"))


def hub(folder: Path, step: int, epoch: float | None) -> Path:
    made = folder_of("bert", folder / f"checkpoint-{step}")
    if epoch is not None:
        state = {"global_step": step, "epoch": epoch, "log_history": []}
        (made / "trainer_state.json").write_text(json.dumps(state))
    return made


def test_checkpoints_of_transformers_tell_their_number(tmp_path: Path) -> None:
    start = folder_of("bert", tmp_path / "start")
    hub(tmp_path / "run", 10, 1.0)
    hub(tmp_path / "run", 9, None)
    unit, found = find_checkpoints([start, tmp_path / "run"])
    assert unit == "step"
    assert [each.number for each in found] == [0, 9, 10]
    with pytest.raises(UsageError, match="does not state its step; only the first"):
        find_checkpoints([tmp_path / "run", start])
    with pytest.raises(UsageError, match="does not state its epoch; replay by steps"):
        find_checkpoints([tmp_path / "run"], unit="epoch")
    shutil.rmtree(tmp_path / "run" / "checkpoint-9")
    hub(tmp_path / "run", 5, 0.5)
    with pytest.raises(UsageError, match=r"was saved within epoch 0\.50; replay by steps"):
        find_checkpoints([tmp_path / "run"], unit="epoch")
    (tmp_path / "run" / "checkpoint-5" / "trainer_state.json").write_text("{")
    with pytest.raises(UsageError, match=r"trainer_state\.json: damaged"):
        find_checkpoints([tmp_path / "run"])


class Evil:
    def __reduce__(self) -> Any:
        return (os.system, ("touch hacked",))


def test_checkpoints_of_lightning_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "global_step": 1, "own": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(SnapshotError, match=r"posix\.system.*could run code") as caught:
        find_checkpoints([tmp_path / "evil.ckpt"], base=untrained)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "hacked").exists()


class Table(dict[str, int]):
    """What a checkpoint of anybody's may hold."""

    ran = False

    def __new__(cls) -> Table:
        cls.ran = True
        return super().__new__(cls)


def of_lightning(file: Path, step: int, **more: Any) -> None:
    weights = {f"model.{name}": value + step / 100 for name, value in untrained().state_dict().items()}
    torch.save({"state_dict": weights, "global_step": step, "epoch": step, **more}, file)


def test_hyperparameters_of_any_class_are_not_read_and_run_nothing(tmp_path: Path) -> None:
    options = {"root": Path("data"), "nested": [Selection.parse("max-5"), {"shape": torch.Size([3])}]}
    for step in (1, 2):
        of_lightning(tmp_path / f"{step}.ckpt", step, hyper_parameters=options)
    _, found = find_checkpoints([tmp_path], base=untrained)
    assert [each.number for each in found] == [1, 2]
    weights = found[1].load().state_dict()
    for name, value in untrained().state_dict().items():
        assert torch.equal(weights[name], value + 0.02), name


def test_what_cannot_be_passed_over_is_named_and_the_advice_helps(tmp_path: Path) -> None:
    options = {"table": Table()}
    options["table"]["a"] = 1
    of_lightning(tmp_path / "1.ckpt", 1, hyper_parameters=options)
    Table.ran = False
    with pytest.raises(
        SnapshotError, match=r"test_checkpoint_replay\.Table.*state_dict, global_step and epoch"
    ):
        find_checkpoints([tmp_path], base=untrained)
    assert not Table.ran
    content = torch.load(tmp_path / "1.ckpt", weights_only=False)
    torch.save({name: content[name] for name in ("state_dict", "global_step", "epoch")}, tmp_path / "1.ckpt")
    assert len(find_checkpoints([tmp_path], base=untrained)[1]) == 1


def test_a_copy_of_the_last_checkpoint_is_no_second_step(tmp_path: Path) -> None:
    for name, step in (("epoch=0-step=1.ckpt", 1), ("epoch=1-step=2.ckpt", 2), ("last.ckpt", 2)):
        of_lightning(tmp_path / name, step)
    _, found = find_checkpoints([tmp_path], base=untrained)
    assert [each.path.name for each in found] == ["epoch=0-step=1.ckpt", "epoch=1-step=2.ckpt"]
    of_lightning(tmp_path / "last.ckpt", 3)
    assert [each.number for each in find_checkpoints([tmp_path], base=untrained)[1]] == [1, 2, 3]
    of_lightning(tmp_path / "other.ckpt", 2)
    with pytest.raises(UsageError, match="are both step 2"):
        find_checkpoints([tmp_path], base=untrained)


def test_another_base_is_measured_anew(tmp_path: Path) -> None:
    for step in (1, 2):
        of_lightning(tmp_path / f"{step}.ckpt", step)

    vocabulary = untrained().vocabulary

    def base(shift: int) -> Callable[[], TextModel]:
        def encode(words: Sequence[str]) -> list[int]:
            return [(i + shift) % len(vocabulary) for i in vocabulary.encode(words)]

        return lambda: TextModel(
            untrained(),
            encode,
            lambda module, ids, mask: module.hidden_states(ids),  # type: ignore[operator]
        )

    out = tmp_path / "out"
    for shift in (0, 0, 1):
        before = times(out)
        replay([tmp_path], spec(), out, base=base(shift), **FAST)
        assert (times(out) == before) is (shift == 0 and before != {})
        latest = find_checkpoints([tmp_path], base=base(shift))[1][-1].load()
        fresh = collect(latest, spec().text, layers=["rnn"], name="step-000002")
        stored = Stage.load(out / "stages" / "step-000002")
        assert stored.preferences().table().equals(fresh.preferences().table())


@pytest.mark.parametrize(
    "state",
    [
        '{"global_step": 1e999, "epoch": 1, "log_history": []}',
        '{"global_step": -1, "epoch": 1, "log_history": []}',
        '{"global_step": 5, "epoch": NaN, "log_history": []}',
        '{"global_step": 5, "epoch": 1, "log_history": [3]}',
        '{"global_step": 5, "epoch": 1, "log_history": [{"step": "a", "loss": 1}]}',
        '{"global_step": 5, "epoch": 1, "log_history": [{"epoch": null, "loss": 1}]}',
        "[]",
    ],
)
def test_a_state_with_damaged_values_is_one_line(state: str, tmp_path: Path) -> None:
    made = hub(tmp_path / "run", 5, 1.0)
    (made / "trainer_state.json").write_text(state)
    for unit in ("step", "epoch"):
        with pytest.raises(UsageError, match=r"trainer_state\.json: damaged") as caught:
            find_checkpoints([tmp_path / "run"], unit=unit)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [-1, True, "1", None])
def test_a_checkpoint_of_lightning_tells_its_number(number: Any, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "global_step": number}, tmp_path / "a.ckpt")
    with pytest.raises(UsageError, match="does not state its step"):
        find_checkpoints([tmp_path / "a.ckpt"], base=untrained)


def test_weights_have_names(tmp_path: Path) -> None:
    torch.save({"state_dict": {3: torch.zeros(1)}, "global_step": 1}, tmp_path / "a.ckpt")
    with pytest.raises(SnapshotError, match="no weights"):
        find_checkpoints([tmp_path / "a.ckpt"], base=untrained)


def test_the_unit_is_one_of_two(snapshots: list[Path]) -> None:
    with pytest.raises(UnknownNameError, match="unit 'word'"):
        find_checkpoints(snapshots, unit="word")  # type: ignore[arg-type]


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    for step in (1, 2):
        weights = {f"model.{name}": value for name, value in untrained().state_dict().items()}
        torch.save({"state_dict": weights, "global_step": step, "epoch": step}, tmp_path / f"{step}.ckpt")
    with pytest.raises(UsageError, match="pass base"):
        find_checkpoints([tmp_path])
    with pytest.raises(SnapshotError, match="begin with 'net.' do not fit the base model"):
        replay([tmp_path], spec(), tmp_path / "out", base=untrained, prefix="net.")
    _, found = find_checkpoints([tmp_path], base=untrained)
    assert [each.number for each in found] == [1, 2]


def test_what_is_no_checkpoint_is_one_line(snapshots: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.ckpt").write_text("nothing")
    for path in (tmp_path / "empty", tmp_path / "nowhere", tmp_path / "text.ckpt"):
        with pytest.raises(SnapshotError, match=str(path)) as caught:
            find_checkpoints([path], base=untrained)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="are both epoch 1; leave one out"):
        find_checkpoints([snapshots[1], shutil.copytree(snapshots[1], tmp_path / "copy")])
    with pytest.raises(UsageError, match="is the only checkpoint; name at least two"):
        replayed(snapshots[:1], tmp_path / "out")
    with pytest.raises(UsageError, match="no checkpoints; name at least two"):
        find_checkpoints([])
    with pytest.raises(UsageError, match="numbered by epochs"):
        find_checkpoints(snapshots, unit="step")
    save_model(untrained(), tmp_path / "untold")
    with pytest.raises(UsageError, match="does not state its epoch"):
        find_checkpoints([tmp_path / "untold"])


def test_a_probe_reads_its_text_once(tmp_path: Path) -> None:
    passes = []

    def documents(skipped: Any) -> Any:
        passes.append(1)
        return iter(list(spec().corpus)[:20])

    from txray.corpus import Corpus

    asked = CollectSpec(Corpus("c", documents, fingerprint=lambda: "f"), ["rnn"], max_words=150)
    one, two = (asked.collect(untrained(), "a") for _ in range(2))
    assert len(passes) == 1
    assert one.manifest["corpus"] == two.manifest["corpus"]
    assert one.manifest["words"] == 150
