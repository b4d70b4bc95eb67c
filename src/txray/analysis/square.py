"""Four stages as a square: two models on two texts, in order, with names to show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations as orders

from txray.analysis.subjects import same_documents, same_model
from txray.errors import UsageError
from txray.preferences.stage import Stage


def arranged(stages: Sequence[Stage]) -> list[Stage]:
    """Return four stages as model a on text a and on text b, then model b on both.

    Stages keep their order unless their manifests contradict it.

    Raises:
        UsageError: not four stages, or they are not two models on two texts.
    """
    names = [stage.name for stage in stages]
    if len(stages) != 4:
        raise UsageError(
            f"decompose: {len(stages)} stages {names}; pass four: model a on text a and on text b, then model b on both"
        )
    for order in orders(range(1, 4)):
        square = [stages[0], *(stages[index] for index in order)]
        if _fits(square, unknown=True):
            return square
    raise UsageError(
        f"decompose: stages {names} are not two models on the same two texts, according to their manifests; collect "
        "each model on both texts, in the same way"
    )


def square_of(stages: Sequence[Stage]) -> list[Stage] | None:
    """Return four stages in the order of `arranged` if they are two different models on two different texts."""
    if len(stages) != 4:
        return None
    for order in orders(range(1, 4)):
        square = [stages[0], *(stages[index] for index in order)]
        layers = _common(square)
        differ = [same_model(square[0], square[2], layer) is False for layer in layers]
        if layers and all(differ) and same_documents(*square[:2]) is False and _fits(square, unknown=False):
            return square
    return None


def _fits(square: Sequence[Stage], *, unknown: bool) -> bool:
    """Return whether the first two and the last two are of one model, the others of one text, or `unknown` that is."""
    allowed = (True, None) if unknown else (True,)
    layers = _common(square)
    models = [same_model(square[i], square[j], layer) for i, j in ((0, 1), (2, 3)) for layer in layers]
    texts = [same_documents(square[i], square[j]) for i, j in ((0, 2), (1, 3))]
    return all(fact in allowed for fact in (*models, *texts))


def _common(stages: Sequence[Stage]) -> list[str]:
    return [layer for layer in stages[0].layers if all(layer in stage.layers for stage in stages)]


def names_of_corpora(square: Sequence[Stage]) -> list[str]:
    """Return names of both texts: those of the corpora, or a and b if these are unknown or equal."""
    return distinct_names([str((stage.manifest.get("corpus") or {}).get("name", "")) for stage in square[:2]])


def names_of_models(square: Sequence[Stage]) -> list[str]:
    """Return names of both models: their types, or A and B if these are unknown or equal."""
    names = [str((stage.manifest.get("model") or {}).get("type", "")) for stage in (square[0], square[2])]
    return names if all(names) and names[0] != names[1] else ["A", "B"]


def distinct_names(names: Sequence[str]) -> list[str]:
    """Return two paths without the parts that both begin or end with; a and b if either is unknown, or both are equal.

    >>> distinct_names(["demo/encyclopedia/train", "demo/reviews/train"])
    ['encyclopedia', 'reviews']
    """
    one, other = (name.split("/") for name in names)
    for end in (0, -1):
        while len(one) > 1 and len(other) > 1 and one[end] == other[end]:
            one, other = (parts[1:] if end == 0 else parts[:-1] for parts in (one, other))
    short = ["/".join(parts) for parts in (one, other)]
    return short if all(short) and short[0] != short[1] else ["a", "b"]


def two_names(names: Sequence[str], what: str) -> tuple[str, str]:
    """Return two names to show; `UsageError` unless they are two different ones."""
    if isinstance(names, str) or len(names) != 2 or names[0] == names[1] or not all(map(str, names)):
        raise UsageError(f"decompose: {what}={names!r}; pass two different names")
    return str(names[0]), str(names[1])
