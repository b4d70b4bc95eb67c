"""A stage folder that an earlier version wrote opens, and gives the numbers that it gave then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from txray.preferences import Stage, StageFolder, merge_folders

FOLDER = Path(__file__).parents[2] / "data" / "stage_format_2"
WORDS = ['naïve, "x"\n', "w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"]
MASS = {
    "embedding": [73.375, 62.59375, 44.0625],
    "rnn": [36.53125, 32.90625, 29.75, 38.265625, 42.578125],
}
WINS = {"embedding": [20, 24, 16], "rnn": [14, 11, 9, 14, 12]}
LENGTHS = {
    ("embedding", "token"): [9, 7, 6],
    ("embedding", "pos"): [2, 2, 2],
    ("rnn", "token"): [7, 1, 5, 5, 7],
    ("rnn", "pos"): [2, 1, 2, 2, 2],
}
COUNTS = [[0, 1, 8, 5, 1, 0, 2, 2, 2], [1, 0, 6, 2, 2, 2, 0, 1, 1], [0, 3, 10, 5, 3, 1, 1, 1, 0]]


@pytest.fixture(params=["loaded", "on demand"])
def stage(request: pytest.FixtureRequest) -> Stage | StageFolder:
    """The stage, in memory and as a folder."""
    return Stage.load(FOLDER) if request.param == "loaded" else StageFolder.open(FOLDER)


def test_it_is_of_the_format_that_is_still_written(tmp_path: Path) -> None:
    again = Stage.load(FOLDER).save(tmp_path / "again")
    before, after = (json.loads((folder / "manifest.json").read_text()) for folder in (FOLDER, again))
    assert before["format"] == 2
    assert before.keys() == after.keys()
    assert {**before, "checksums": None} == {**after, "checksums": None}
    assert before["checksums"].keys() == after["checksums"].keys()


def test_preferences_have_the_same_numbers(stage: Stage | StageFolder) -> None:
    assert stage.name == "before"
    assert stage.layers == ("embedding", "rnn")
    assert stage.feature_types == ("token", "pos")
    for (layer, feature_type), lengths in LENGTHS.items():
        preferences = stage[layer, feature_type]
        assert preferences.lengths().tolist() == lengths
        assert preferences.wins().tolist() == WINS[layer]
        assert preferences.mass().tolist() == MASS[layer]
        assert (preferences.folds, preferences.words, preferences.selection) == (3, 60, "max-1/zscore")
    assert stage["rnn", "token"].features.tolist() == WORDS
    assert stage["rnn", "token"].corpus_counts.tolist() == COUNTS
    assert stage["rnn", "pos"].corpus_counts.tolist() == [[9, 12], [6, 9], [13, 11]]
    assert stage["rnn", "token"].sum_sq.sum() == 724.57421875


def test_one_neuron_has_the_same_numbers(stage: Stage | StageFolder) -> None:
    ((feature, wins, lift, mean),) = stage.neuron(1, layer="rnn").words.iter_rows()
    assert (feature, wins) == ("w1", 11)
    assert lift == pytest.approx(1.702127659574468, rel=1e-15)
    assert mean == pytest.approx(2.991477272727273, rel=1e-15)
    assert stage.neuron(1, layer="rnn").tags.rows() == [("NN", 11, 1.0)]
    exemplars = stage.neuron(0, layer="rnn").exemplars
    assert exemplars.select("activation", "document", "word", "label").rows() == [
        (5.390625, "d45", "w5", "pos"),
        (5.0625, "d13", "w2", "pos"),
    ]
    assert exemplars["activations"].to_list()[0] == [2.6953125] * 4


def test_the_other_tables_have_the_same_rows(stage: Stage | StageFolder) -> None:
    assert [row[2] for row in stage.tags.rows()] == [1, 4, 24, 12, 6, 3, 3, 4, 3]
    assert stage.tags.row(0) == (WORDS[0], "VB", 1)
    assert len(stage.exemplars) == 10
    loaded = Stage.load(FOLDER)
    assert loaded.scales.rows() == [
        ("embedding", 0, 0.5, 1.0),
        ("embedding", 1, 0.25, 2.0),
        ("embedding", 2, 0.0, 0.125),
    ]
    assert loaded.documents.rows() == [
        ("group", 7, 0),
        *(("text", number, 10) for number in range(1000, 1005)),
    ]
    assert loaded.manifest["corpus"]["words_repeated"] == 10


def test_it_merges_with_another(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    manifest["corpus"]["documents_digest"] = "ac"
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest))
    merged = Stage.load(merge_folders([FOLDER, tmp_path / "other"], tmp_path / "merged"))
    assert merged["rnn", "token"].wins().tolist() == [2 * wins for wins in WINS["rnn"]]
    assert merged["rnn", "token"].mass().tolist() == [2 * mass for mass in MASS["rnn"]]
