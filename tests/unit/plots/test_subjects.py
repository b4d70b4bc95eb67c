"""Every public function of figures, given something else than it draws, says in one line what to give."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from plotly.basedatatypes import BaseFigure

from tests.builders.figures import Text, plain_words, stage_of
from txray import plots
from txray.analysis import ConceptShift, ModelMatching, compare
from txray.errors import UsageError

FUNCTIONS = [name for name in plots.__all__ if inspect.isfunction(getattr(plots, name))]
_TEXT = Text(plain_words(20), n_words=200, n_neurons=3)
_TOKENS, _TAGS = _TEXT.stage("unsup", seed=0)
_STAGE = stage_of((_TOKENS, _TAGS))
WRONG: dict[str, Any] = {"stage": _STAGE, "path": "stages/sup", "none": None, "number": 1.5, "list": [[]]}
RIGHT: dict[str, Any] = {
    "comparison": compare(_TOKENS, _TOKENS, permutations=0),
    "pos": compare(_TAGS, _TAGS, permutations=0),
    "tokens": [_TOKENS],
    "early": _TAGS,
    "late": _TAGS,
    "before": _STAGE,
    "after": _STAGE,
    "table": pl.DataFrame(),
    "neuron": 0,
    # Subjects are checked one after the other, before anything is drawn.
    "shift": ConceptShift.__new__(ConceptShift),
    "feature": "NN",
    "token_tags": _TEXT.tag_of,
    "figure": go.Figure(),
    "path": "figure.html",
}
SUITS = {("names", "path"), ("path", "path"), ("feature", "path")} | {
    (side, subject) for side in ("before", "after") for subject in ("stage", "path")
}
"""Parameters for which a wrong subject is a right one."""


def calls() -> list[Any]:
    """Every required parameter of every function, with each of the wrong subjects."""
    return [
        pytest.param(name, parameter, subject, id=f"{name}({parameter.name}={subject})")
        for name in FUNCTIONS
        for parameter in inspect.signature(getattr(plots, name)).parameters.values()
        if parameter.default is parameter.empty
        for subject in WRONG
        if (parameter.name, subject) not in SUITS
    ]


@pytest.mark.parametrize(("name", "parameter", "subject"), calls())
def test_a_wrong_subject_is_one_line(
    name: str, parameter: inspect.Parameter, subject: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is not refused may be written.
    monkeypatch.chdir(tmp_path)
    function, wrong = getattr(plots, name), WRONG[subject]
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        call = inspect.signature(function).bind(wrong)
    else:
        values = {p.name: wrong if p.name == parameter.name else RIGHT[p.name] for p in required}
        if name == "neuron_detail" and parameter.name != "pos":
            values["pos"] = [_TAGS]
        call = inspect.signature(function).bind(**values)
    with pytest.raises(UsageError) as refused:
        function(*call.args, **call.kwargs)
    message = str(refused.value)
    assert "\n" not in message
    assert "None" in message or "a " in message or repr(wrong) in message, message
    if parameter.name not in ("before", "after"):
        assert f"{name}: {parameter.name}" in message or parameter.name == "path", message


def test_one_subject_is_a_list_of_one() -> None:
    assert plots.mass_activation(_TOKENS) == plots.mass_activation([_TOKENS])
    assert plots.stage_styles("sup") == plots.stage_styles(["sup"])


def test_any_iterable_is_a_list(text: Text) -> None:
    sides = [text.stage("unsup", seed=0)[0], text.stage("sup", seed=1)[0]]
    assert plots.mass_activation(iter(sides)) == plots.mass_activation(sides)  # type: ignore[arg-type]


def test_stages_in_folders_are_drawn(tmp_path: Path) -> None:
    from txray.analysis import layer_affinity

    table = layer_affinity(_STAGE, _STAGE, min_wins=1)
    folder = _STAGE.save(tmp_path / "unsup")
    assert plots.layer_affinity(folder, str(folder), table) == plots.layer_affinity(_STAGE, _STAGE, table)


def test_a_call_that_does_not_fit_shows_the_parameters() -> None:
    with pytest.raises(UsageError, match=r"call it as volcano\(comparison\)"):
        plots.volcano()  # type: ignore[call-arg]


def test_every_figure_of_a_mapping_is_checked() -> None:
    with pytest.raises(UsageError, match=r"a\.json is None"):
        plots.save_figures({"a.json": None})


def test_types_of_other_libraries_are_not_taken_for_theirs_by_name() -> None:
    pandas = pytest.importorskip("pandas")

    with pytest.raises(UsageError, match="curves is a DataFrame; give a polars DataFrame"):
        plots.training_curves(pandas.DataFrame())  # type: ignore[arg-type]
    other = type("Comparison", (), {})()
    with pytest.raises(UsageError, match="comparison is a Comparison; give a Comparison, as txray.compare"):
        plots.volcano(other)


def test_subclasses_suit() -> None:
    class Figure(BaseFigure):
        pass

    assert "<html>" in plots.to_html(Figure())
    assert plots.stage_styles([np.str_("sup")]) == plots.stage_styles(["sup"])


def test_only_the_figure_of_both_kinds_of_matchings_takes_those_of_models() -> None:
    of_models = ModelMatching.__new__(ModelMatching)
    for figure in (plots.matching, plots.matching_curve):
        with pytest.raises(UsageError, match="give a Matching"):
            figure(of_models)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):  # taken, but it is empty
        plots.match_strength(of_models)
