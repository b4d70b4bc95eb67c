"""The layer to collect: a name or pattern, and how its activations are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from txray.capture.hooks import Side
from txray.capture.layout import Axes
from txray.capture.selection import Selection
from txray.checks import is_integer
from txray.errors import UsageError

_CALL, _INPUT, _EXPERT = "call=", "input", "expert="
"""Options after the name of a layer, separated by colons."""


@dataclass(frozen=True)
class Layer:
    """A layer to collect, or all layers that match a pattern, and how its activations are read.

    >>> Layer("encoder.act", call=1).label
    'encoder.act:call=1'

    Attributes:
        name: name of the module, or a pattern; see `matching_layers`.
        layout: order of the axes of its output; determined by a dry run by default.
        lag: time steps by which the output lags behind the input; that of the model's declaration by default.
        selection: which activations count; that of the collection by default.
        call: which call to read if the module runs several times in a forward pass: from 0, or from -1 backwards. If
            the module has several names, only calls under this name count. By default the last call, with a warning.
        input: whether to read the input of the module (the first tensor among its arguments) instead of its output.
        expert: for a module that holds the weights of several experts: the number of the expert whose neurons are
            read, from 0, or `*` for all experts, each as a layer of its own.

    Raises:
        UsageError: `call` is not an integer, `input` is neither True nor False, or `expert` is neither a number nor
            `*`, or is combined with `input`.
    """

    name: str
    layout: Axes = "auto"
    lag: int | None = None
    selection: Selection | str | None = None
    call: int | None = None
    input: bool = False
    expert: int | Literal["*"] | None = None

    def __post_init__(self) -> None:
        if self.call is not None:
            if not is_integer(self.call):
                raise UsageError(
                    f"layer {self.name!r}: call={self.call!r}; pass an integer, 0 for the first call"
                )
            object.__setattr__(self, "call", int(self.call))  # NumPy integers cannot be written as JSON
        if not isinstance(self.input, bool):
            raise UsageError(f"layer {self.name!r}: input={self.input!r}; pass True or False")
        if self.expert is not None and self.expert != "*":
            if not is_integer(self.expert) or int(self.expert) < 0:
                raise UsageError(
                    f"layer {self.name!r}: expert={self.expert!r}; pass a number from 0, or '*' for all experts"
                )
            object.__setattr__(self, "expert", int(self.expert))
        if self.expert is not None and self.input:
            raise UsageError(
                f"layer {self.name!r}: expert={self.expert!r} and input=True; choose one: the input of an expert is "
                "that of its module"
            )

    @classmethod
    def parse(cls, text: str) -> Layer:
        """Return the layer described by a text such as `act:call=1`, `mlp.down_proj:input` or `mlp.experts:expert=3`.

        A text with any other option after a colon is taken as the name of a layer.

        Raises:
            UsageError: an option occurs twice.
        """
        name, *options = text.split(":")
        layer = cls(name)
        for option in options:
            number, expert = option.removeprefix(_CALL), option.removeprefix(_EXPERT)
            if option == _INPUT:
                repeated, layer = layer.input, replace(layer, input=True)
            elif option.startswith(_CALL) and number.removeprefix("-").isdecimal():
                repeated, layer = layer.call is not None, replace(layer, call=int(number))
            elif option.startswith(_EXPERT) and (expert == "*" or expert.isdecimal()):
                repeated = layer.expert is not None
                layer = replace(layer, expert="*" if expert == "*" else int(expert))
            else:
                return cls(text)
            if repeated:
                raise UsageError(f"layer {text!r}: option {option!r} occurs twice; give it once")
        return layer

    @property
    def label(self) -> str:
        """Return the name of the layer in a stage: its name and its options, such as `act:call=1`."""
        options = [_INPUT] * self.input + [f"{_CALL}{self.call}"] * (self.call is not None)
        options += [] if self.expert is None else [f"{_EXPERT}{self.expert}"]
        return ":".join((self.name, *options))

    @property
    def side(self) -> Side:
        """Return which tensor of a call is read."""
        return "input" if self.input else "output"


Layers = str | Layer | Sequence[str | Layer]
"""Names of modules, patterns or `Layer` objects; a single one needs no list."""


def as_layers(layers: Layers) -> Sequence[str | Layer]:
    """Return one or several layers as a sequence."""
    return (layers,) if isinstance(layers, str | Layer) else layers
