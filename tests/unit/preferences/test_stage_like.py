"""A stage in any form: in memory, an open folder, a path, or a folder of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.preferences import random_events, stage_of
from txray.errors import StageError, UsageError
from txray.preferences import Stage, StageFolder, as_stage, as_stages


@pytest.fixture
def stages(tmp_path: Path) -> Path:
    """A folder of stages, as an experiment names them."""
    for seed, name in enumerate(("sup", "epoch-10", "epoch-2", "untrained")):
        stage_of(random_events(40, seed=seed), name).save(tmp_path / "stages" / name)
    return tmp_path / "stages"


def test_every_form_of_a_stage_is_the_same_stage(stages: Path) -> None:
    stage = Stage.load(stages / "sup")
    assert as_stage(stage) is stage
    for form in (stages / "sup", str(stages / "sup"), StageFolder.open(stages / "sup")):
        loaded = as_stage(form)
        assert isinstance(loaded, Stage)
        assert loaded.preferences().table().equals(stage.preferences().table())


@pytest.mark.parametrize("wrong", [None, 3, ["sup"], {"sup": 1}, b"sup"])
def test_what_is_no_stage_is_refused_in_one_line(wrong: object) -> None:
    with pytest.raises(UsageError, match=type(wrong).__name__.removesuffix("Type")) as caught:
        as_stage(wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError):
        Stage.load(wrong)  # type: ignore[arg-type]


def test_a_path_that_is_no_stage_says_which_one_is(stages: Path) -> None:
    for wrong, says in {
        stages: r"stages: a folder of stages \(untrained, epoch-2, epoch-10, sup\), not one.*stages/untrained$",
        stages.parent: r"a folder of stages .*stages/untrained$",
        stages / "sub": r"stages/sub: there is no such folder \(did you mean \S+/stages/sup\?\)",
        stages / "sup" / "manifest.json": r"manifest.json: a file, .*such as \S+/stages/sup$",
        stages / "sup" / "tags.parquet": r"tags.parquet: a file, not a stage folder",
        Path("nowhere/at/all"): r"nowhere/at/all: there is no such folder; name",
    }.items():
        for read in (as_stage, Stage.load, StageFolder.open):
            with pytest.raises(StageError, match=says) as caught:
                read(wrong)
            assert "\n" not in str(caught.value)
    (stages / "empty").mkdir()
    with pytest.raises(StageError, match=r"empty: not a stage folder \(it has no manifest.json\)"):
        as_stage(stages / "empty")


def test_many_stages_of_one_folder_are_counted_and_not_all_named(tmp_path: Path) -> None:
    stage = stage_of(random_events(10))
    for number in range(7):
        stage.save(tmp_path / f"epoch-{number}")
    with pytest.raises(StageError, match="epoch-4, ... 7 in all") as caught:
        as_stage(tmp_path)
    assert "epoch-5" not in str(caught.value)


def test_a_folder_of_stages_is_its_stages_in_natural_order(stages: Path) -> None:
    natural = ["untrained", "epoch-2", "epoch-10", "sup"]
    assert [stage.name for stage in as_stages(stages)] == natural
    assert [stage.name for stage in as_stages(str(stages.parent))] == natural
    assert [stage.name for stage in as_stages([stages])] == natural


def test_a_list_of_stages_keeps_its_order(stages: Path) -> None:
    stage = stage_of(random_events(10), "here")
    forms = (stages / "sup", stage, StageFolder.open(stages / "epoch-2"), str(stages / "untrained"))
    assert [loaded.name for loaded in as_stages(forms)] == ["sup", "here", "epoch-2", "untrained"]
    assert as_stages(iter(forms))[1] is stage
    assert as_stages(stage) == [stage]
    assert as_stages([]) == []


@pytest.mark.parametrize("wrong", [None, 3, {"a": "b"}, [None], [["a"]]])
def test_what_is_no_list_of_stages_is_refused_in_one_line(wrong: object) -> None:
    with pytest.raises(UsageError, match="expected") as caught:
        as_stages(wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_one_missing_stage_of_a_list_is_named(stages: Path) -> None:
    with pytest.raises(StageError, match=r"did you mean \S+epoch-2"):
        as_stages([stages / "sup", stages / "epoch-3"])
