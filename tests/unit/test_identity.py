"""Fingerprints of functions and objects: other results need another one, and equal ones last beyond a process."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import types
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from txray.identity import derived, identity_of, unidentified


def closing(value: Any) -> Callable[[], Any]:
    return lambda: value


def reading(text: str, **names: Any) -> Any:
    """The function `f` that the text defines, as if it stood in a module of a user's."""
    module = types.ModuleType("users_own")
    vars(module).update(names)
    code = compile(text, "users_own.py", "exec")
    types.FunctionType(code, vars(module))()
    return vars(module)["f"]


class Times:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, value: int) -> int:
        return self.factor * value

    def method(self) -> int:
        return self.factor


@dataclass(frozen=True, slots=True)
class Slotted:
    size: int


def tables(value: int) -> dict[str, list[int]]:
    return {"a": [value]}


RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)

DIFFERENT: dict[str, tuple[Any, Any]] = {
    "built-in methods": (str.istitle, str.islower),
    "built-in functions": (math.floor, math.ceil),
    "bound built-in methods": ({"a": 1}.get, {"a": 2}.get),
    "code": (lambda: 1, lambda: 2),
    "names of attributes": (lambda x: x.lower(), lambda x: x.upper()),
    "a closure": (closing(1), closing(2)),
    "a closure's table": (closing(tables(1)), closing(tables(2))),
    "a closure's function": (closing(closing(1)), closing(closing(2))),
    "number types": (closing(1), closing(1.0)),
    "true and one": (closing(True), closing(1)),
    "signs of zero": (closing(0.0), closing(-0.0)),
    "a default": (reading("def f(x=1): return x"), reading("def f(x=2): return x")),
    "a default by name": (reading("def f(*, x=1): return x"), reading("def f(*, x=2): return x")),
    "a global": (reading("def f(): return g", g=1), reading("def f(): return g", g=2)),
    "a global function": (
        reading("def f(): return g()", g=closing(1)),
        reading("def f(): return g()", g=closing(2)),
    ),
    "a global of an inner function": (
        reading("def f(): return [(lambda: g)() for _ in 'ab']", g=1),
        reading("def f(): return [(lambda: g)() for _ in 'ab']", g=2),
    ),
    "what a user's module holds": (
        reading("def f(): return m.g", m=types.SimpleNamespace(g=1)),
        reading("def f(): return m.g", m=types.SimpleNamespace(g=2)),
    ),
    "a partial's function": (partial(min, 1), partial(max, 1)),
    "a partial's arguments": (partial(min, 1), partial(min, 2)),
    "a partial's names": (partial(sorted, reverse=True), partial(sorted, reverse=False)),
    "objects that are called": (Times(1), Times(2)),
    "bound methods": (Times(1).method, Times(2).method),
    "slots": (Slotted(1), Slotted(2)),
    "classes": (Times, Slotted),
    "behind a cache": (cache(closing(1)), cache(closing(2))),
    "patterns": (re.compile("a"), re.compile("a", re.IGNORECASE)),
    "arrays": (np.arange(3), np.arange(3, dtype=np.float32)),
    "values of arrays": (np.zeros(3), np.array([0.0, 0.0, 1e-300])),
    "tensors": (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)),
    "modules": (nn.Linear(2, 2), nn.Linear(2, 2)),
    "sets": ({1, 2}, {1, 3}),
    "counters": (Counter("ab"), Counter("abb")),
    "boundaries": (("ab", "c"), ("a", "bc")),
    "nesting": ((1, (2, 3)), ((1, 2), 3)),
    "paths": (Path("a"), Path("b")),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_what_gives_something_else_has_another_fingerprint(pair: tuple[Any, Any]) -> None:
    first, second = map(identity_of, pair)
    assert first != second
    assert [unidentified(first), unidentified(second)] == ["", ""]
    assert identity_of(pair[0]) == first


SAME: dict[str, tuple[Any, Any]] = {
    "functions made twice": (closing(tables(1)), closing(tables(1))),
    "objects made twice": (Times(2), Times(2)),
    "sets in another order": ({f"{i}" for i in range(99)}, {f"{i}" for i in reversed(range(99))}),
    "what holds itself": (RECURSIVE, RECURSIVE),
    "globals that are not read": (
        reading("def f(x): return x.g", g=1),
        reading("def f(x): return x.g", g=2),
    ),
    "a cache that was used": (lru_cache(closing(1)), lru_cache(closing(1))),
    "ordered tables": (OrderedDict(a=1), OrderedDict(a=1)),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME)
def test_what_gives_the_same_has_the_same_fingerprint(pair: tuple[Any, Any]) -> None:
    if hasattr(pair[0], "cache_info"):
        pair[0]()
    assert identity_of(pair[0]) == identity_of(pair[1])


USERS = """
import helpers
from txray.identity import identity_of
class Encoder:
    table = {word: i for i, word in enumerate({"b", "c", "a"} | set("xyz"))}.keys() & {"a", "x"}
    def __call__(self, words):
        import inside
        return [helpers.ids[word] + inside.more for word in words]
print(identity_of(Encoder(), Encoder))
"""


def test_fingerprints_last_beyond_a_process_and_follow_modules_of_the_users_own(tmp_path: Path) -> None:
    files = {"users.py": USERS, "helpers.py": "ids = {'a': 1}\nother = 1\n", "inside.py": "more = 1\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    def printed() -> str:
        done = subprocess.run(
            [sys.executable, "-B", "users.py"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    first = printed()
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert printed() == first
    (tmp_path / "helpers.py").write_text("ids = {'a': 1}\nother = 2\n")
    assert printed() == first, "what is not used of a module makes no difference"
    (tmp_path / "helpers.py").write_text("ids = {'a': 2}\nother = 2\n")
    second = printed()
    (tmp_path / "inside.py").write_text("more = 2\n")
    assert len({first, second, printed()}) == 3


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (closing(Lock()), "_thread.lock"),
        (partial(min, sys.__stdout__), "TextIOWrapper"),
        ((letter for letter in "a"), "generator"),
    ],
    ids=["lock", "file", "generator"],
)
def test_what_has_no_describable_state_equals_nothing(value: Any, what: str) -> None:
    first, second = identity_of(value), identity_of(value)
    assert first != second
    assert what in unidentified(first)
    assert what in unidentified(derived("a" * 64, "annotate", first))
    assert unidentified(derived("a" * 64, "annotate", "b" * 64)) == ""


def test_too_deep_a_nesting_equals_nothing() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "deep" in unidentified(identity_of(deep))
    while deep:  # or its end would be as deep
        (deep,) = deep


def test_a_fingerprint_of_its_own_speaks_for_a_function() -> None:
    lock = Lock()

    def one() -> None:
        with lock:
            pass

    one.fingerprint = "1"  # type: ignore[attr-defined]
    first = identity_of(one)
    one.fingerprint = "2"  # type: ignore[attr-defined]
    assert first != identity_of(one)
    assert unidentified(first) == ""


@pytest.mark.parametrize("module_name", [None, "builtins", "numpy"])
def test_names_of_executed_text_are_no_librarys(module_name: str | None) -> None:
    names: dict[str, Any] = {"factor": 1} if module_name is None else {"factor": 1, "__name__": module_name}
    types.FunctionType(compile("def f(value):\n    return factor * value", "cell.py", "exec"), names)()
    first = identity_of(names["f"])
    assert identity_of(names["f"]) == first
    names["factor"] = 2
    assert identity_of(names["f"]) != first


def test_a_function_that_draws_is_identified_by_the_state_of_its_generator() -> None:
    first, second = np.random.default_rng(0), np.random.default_rng(0)
    assert identity_of(closing(first)) == identity_of(closing(second))
    second.random()
    assert identity_of(closing(first)) != identity_of(closing(second))
    assert unidentified(identity_of(closing(first))) == ""


class Unpicklable:
    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.reduced


@pytest.mark.parametrize(
    "value",
    [
        *(Unpicklable(reduced) for reduced in (5, (), (int, (1,), None, 5))),
        torch.ones(2, device="meta"),
        torch.eye(2).to_sparse(),
    ],
    ids=["no tuple", "empty", "no items", "meta tensor", "sparse tensor"],
)
def test_what_fails_when_it_is_described_equals_nothing(value: Any) -> None:
    first, second = identity_of(closing(value)), identity_of(closing(value))
    assert first != second
    assert "described" in unidentified(first)


def test_conjugated_and_negated_tensors_count_by_their_numbers() -> None:
    values = torch.tensor([1 + 2j, 3 - 1j])
    assert identity_of(values.conj()) == identity_of(values.conj().resolve_conj()) != identity_of(values)
    assert identity_of(values.conj().imag) == identity_of(values.conj().imag.resolve_neg())
