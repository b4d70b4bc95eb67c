"""Masks as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from txray import Mask
from txray.errors import SnapshotError

MASKS = [
    Mask("rnn", [5, 1]),
    Mask("rnn", [2, 9], "mean", values=np.array([0.5, -0.25]), scope="final-state"),
    Mask("a.b", [3], "resample", values=np.array([[0.1], [0.2]]), seed=4),
]


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: mask.ablation)
def test_a_mask_comes_back_from_its_file(mask: Mask, tmp_path: Path) -> None:
    file = mask.save(tmp_path / "mask.json", model="abc")
    loaded = Mask.load(file)
    for name in ("layer", "neurons", "ablation", "scope", "seed"):
        assert getattr(loaded, name) == getattr(mask, name)
    if mask.values is None:
        assert loaded.values is None
    else:
        np.testing.assert_array_equal(loaded.values, mask.values)  # type: ignore[arg-type]
    assert Mask.load(file, model="abc").neurons == mask.neurons
    with pytest.raises(SnapshotError, match="is for the model 'abc', not 'x'"):
        Mask.load(file, model="x")


def content(**changes: object) -> str:
    stored = {
        "layer": "r",
        "neurons": [1],
        "ablation": "zero",
        "scope": "every-step",
        "values": None,
        "seed": 0,
    }
    return json.dumps({"format": 2, "model": None, "mask": stored | changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[]", "format None"),
        ('{"format": 1, "masks": []}', "format 1"),
        ('{"format": 2, "mask": {"layer": "rnn"}}', "damaged"),
        ('{"format": 2, "mask": 3}', "damaged"),
        ("[" * 100_000, "damaged"),
        (content(neurons=[1, 1]), "listed twice"),
        (content(ablation="mean", values=[0.5, 0.25]), "values of shape"),
        (content(scope="never"), "unknown scope 'never'"),
        (content(more=1), "damaged"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mask.json"
    with pytest.raises(SnapshotError, match="no such file"):
        Mask.load(file)
    file.write_text(text)
    with pytest.raises(SnapshotError, match=message) as caught:
        Mask.load(file)
    assert "\n" not in str(caught.value)


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "mask.json").write_text(content())
    assert Mask.load(tmp_path / "mask.json").neurons == (1,)
