"""Report a call that does not match a function's parameters by an error that shows how to call it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from txray.errors import UsageError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def checked_call(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return the function with a `UsageError` that names its parameters in place of Python's `TypeError`.

    >>> @checked_call
    ... def scale(values, *, by=1): ...
    >>> scale([1, 2], 3)
    Traceback (most recent call last):
    txray.errors.UsageError: scale: too many positional arguments; call it as scale(values, by=...)
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(
                f"{function.__name__}: {error}; call it as {_form(function, signature)}"
            ) from None
        return function(*args, **kwargs)

    return wrapper


def _form(function: Callable[..., object], signature: inspect.Signature) -> str:
    """Return how a function is called: `compare(before, after, layer=..., feature_type=...)`."""
    names = [
        name if parameter.default is parameter.empty else f"{name}=..."
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    return f"{function.__name__}({', '.join(names)})"
