"""Check the subjects of figures: a wrong one raises one clear line instead of an error from within the drawing."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, ParamSpec, TypeVar

from txray.arguments import checked_call
from txray.checks import is_integer
from txray.errors import UsageError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_EXPECTED: Mapping[str, str] = {
    "Comparison": "a Comparison, as txray.compare(before, after) returns",
    "Timeline": "a Timeline, as txray.timeline(stages) returns",
    "Decomposition": "a Decomposition, as txray.decompose returns",
    "Matching": "a Matching, as txray.match(before, after) returns",
    "ConceptRanking": "a ConceptRanking, as txray.rank_neurons(stage) returns",
    "ConceptShift": "a ConceptShift, as ranking.compare(later_ranking) returns",
    "Advice": "an Advice, as txray.pruning.advise returns",
    "Persistence": "a Persistence, as txray.persistence(stages) returns",
    "LayerSimilarity": "a LayerSimilarity, as txray.layer_similarity returns",
    "Pruning": "a Pruning, as txray.prune returns",
    "Preferences": "Preferences, as stage.preferences(layer=..., feature_type=...) returns",
    "DataFrame": "a polars DataFrame",
    "Figure": "a plotly figure",
    "Mapping": "a mapping",
    "Path": "a path",
    "int": "a whole number",
    "str": "text",
}
"""Name of a type in annotations -> what is said of it; parameters of other types are not checked."""
_TYPES: Mapping[str, tuple[str, str]] = {
    "DataFrame": ("polars", "DataFrame"),
    # Figures in notebooks are widgets, which are no `Figure`.
    "Figure": ("plotly", "BaseFigure"),
    "str": ("builtins", "str"),
}
"""Library and name of the types that are not txray's."""
_ANNOTATION = re.compile(
    r"(?P<several>Sequence|Iterable)?\[?(?:\w+\.)?(?P<kind>\w+)(?:\[.*\])?\]?(?: \| (?:str|(?P<other>ModelMatching)))?"
)


def checked_subjects(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return the function with a `UsageError` for arguments of a wrong type; one subject is a list of one.

    >>> @checked_subjects
    ... def volcano(comparison: "Comparison"): ...
    >>> volcano(None)
    Traceback (most recent call last):
    txray.errors.UsageError: volcano: comparison is None; give a Comparison, as txray.compare(before, after) returns
    """
    signature = inspect.signature(function)
    checked = {
        name: match
        for name, parameter in signature.parameters.items()
        if (match := _ANNOTATION.fullmatch(str(parameter.annotation))) and match["kind"] in _EXPECTED
    }

    @functools.wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        call = signature.bind(*args, **kwargs)
        for name, annotation in checked.items():
            if name not in call.arguments:
                continue
            value, kind = call.arguments[name], annotation["kind"]
            if annotation["other"] and _is(value, annotation["other"]):
                continue
            where = f"{function.__name__}: {name}"
            if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
                _require_all(value, kind, where)
            elif not annotation["several"]:
                require_subject(value, kind, where)
            else:
                call.arguments[name] = _several(value, kind, where)
        return function(*call.args, **call.kwargs)

    return checked_call(wrapper)


def _several(value: Any, kind: str, where: str) -> list[Any]:
    if _is(value, kind):
        return [value]
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise UsageError(f"{where} is {_described(value)}; give a list of {_EXPECTED[kind]}")
    values = list(value)
    _require_all(values, kind, where)
    return values


def _require_all(values: Iterable[Any], kind: str, where: str) -> None:
    for index, value in enumerate(values):
        require_subject(value, kind, f"{where}[{index}]")


def require_subject(value: Any, kind: str, where: str) -> None:
    """Raise a `UsageError` unless a value is of the type of this name; `where` says what it was given for."""
    if not _is(value, kind):
        raise UsageError(f"{where} is {_described(value)}; give {_EXPECTED[kind]}")


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "int":
            return is_integer(value)
        case "Mapping":
            return isinstance(value, Mapping)
        case "Path":
            return isinstance(value, str | PathLike)
    # By name, so that nothing is imported to check for its types.
    library, name = _TYPES.get(kind, ("txray", kind))
    bases = type(value).__mro__
    return any(base.__name__ == name and base.__module__.partition(".")[0] == library for base in bases)


def _described(value: Any) -> str:
    return f"{value!r:.60}" if value is None or isinstance(value, str | int) else f"a {type(value).__name__}"
