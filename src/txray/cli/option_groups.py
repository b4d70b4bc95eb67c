"""Options that several commands share, as one dataclass: typer itself needs each as a parameter of the command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, get_type_hints


def expand_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: replace each parameter whose type is a dataclass by one option per field.

    The type of a field is `Annotated[..., typer.Option(...)]`, and its default that of the option. The command is
    called with instances of the dataclasses.

    Example:
        >>> @dataclass
        ... class TextOptions:
        ...     text: Annotated[str, typer.Option("--text")]
        ...     html: Annotated[bool, typer.Option("--html")] = False
        >>> @app.command()
        ... @expand_option_groups
        ... def read(folder: Path, options: TextOptions) -> None: ...
    """
    groups: dict[str, type] = {}
    parameters = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group = parameter.annotation
        if not (isinstance(group, type) and is_dataclass(group)):
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = group
        types = get_type_hints(group, include_extras=True)
        parameters += [
            Parameter(
                option.name, Parameter.KEYWORD_ONLY, default=_default(option), annotation=types[option.name]
            )
            for option in fields(group)
        ]

    @wraps(command)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{option.name: values.pop(option.name) for option in fields(group)})
        command(**values)

    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _default(option: Field[Any]) -> Any:
    if option.default_factory is not MISSING:
        return option.default_factory()
    return Parameter.empty if option.default is MISSING else option.default
