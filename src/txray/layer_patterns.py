"""Patterns for names of layers, such as `encoder.layer.*.intermediate`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from txray.errors import UnknownNameError


def matching_names(patterns: str | Iterable[str], names: Sequence[str], what: str = "layer") -> list[str]:
    """Return the names that patterns match, each once, in the order of the patterns and of `names`.

    In a pattern, `*` matches anything within one part of a name (between dots), `**` anything, `?` one character,
    and `[0-9]` one of these characters: `encoder.layer.*.intermediate`, `model.layers.[0-9].mlp`.

    Args:
        patterns: names or patterns; a single one needs no list.
        names: all names.
        what: the kind of name, for the error.

    Raises:
        UnknownNameError: a pattern that matches nothing.
    """
    known = set(names)
    matches: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if pattern in known:
            matches[pattern] = None
            continue
        matcher = layer_pattern(pattern)
        matched = [name for name in names if matcher.fullmatch(name)]
        if not matched:
            raise UnknownNameError.of(what, pattern, names)
        matches.update(dict.fromkeys(matched))
    return list(matches)


def layer_pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern for names of layers, see `matching_names`, as a regular expression."""
    parts = re.split(r"(\*\*|\*|\?|\[[^\[\]]+\])", pattern)
    rules = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    return re.compile(
        "".join(
            rules.get(part) or (_characters(part) if index % 2 else re.escape(part))
            for index, part in enumerate(parts)
        )
    )


def _characters(part: str) -> str:
    """Return `[0-9]` or `[!a]` as a regular expression; every other character stands for itself."""
    inner = part[1:-1].replace("\\", r"\\").replace("^", r"\^")
    return f"[^{inner[1:]}]" if inner.startswith("!") and len(inner) > 1 else f"[{inner}]"
