"""The layer to collect: a name or pattern, and how its activations are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from txray.capture.hooks import Side
from txray.capture.layout import Axes
from txray.capture.selection import Selection
from txray.checks import is_integer
from txray.errors import UsageError

_CALL, _INPUT = "call=", "input"
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

    Raises:
        UsageError: `call` is not an integer, or `input` is neither True nor False.
    """

    name: str
    layout: Axes = "auto"
    lag: int | None = None
    selection: Selection | str | None = None
    call: int | None = None
    input: bool = False

    def __post_init__(self) -> None:
        if self.call is not None:
            if not is_integer(self.call):
                raise UsageError(
                    f"layer {self.name!r}: call={self.call!r}; pass an integer, 0 for the first call"
                )
            object.__setattr__(self, "call", int(self.call))  # NumPy integers cannot be written as JSON
        if not isinstance(self.input, bool):
            raise UsageError(f"layer {self.name!r}: input={self.input!r}; pass True or False")

    @classmethod
    def parse(cls, text: str) -> Layer:
        """Return the layer described by a text such as `encoder.act:call=1` or `mlp.down_proj:input`.

        A text with any other option after a colon is taken as the name of a layer.

        Raises:
            UsageError: an option occurs twice.
        """
        name, *options = text.split(":")
        layer = cls(name)
        for option in options:
            number = option.removeprefix(_CALL)
            if option == _INPUT:
                repeated, layer = layer.input, replace(layer, input=True)
            elif option.startswith(_CALL) and number.removeprefix("-").isdecimal():
                repeated, layer = layer.call is not None, replace(layer, call=int(number))
            else:
                return cls(text)
            if repeated:
                raise UsageError(f"layer {text!r}: option {option!r} occurs twice; give it once")
        return layer

    @property
    def label(self) -> str:
        """Return the name of the layer in a stage: its name and its options, such as `act:call=1`."""
        options = [_INPUT] * self.input + [f"{_CALL}{self.call}"] * (self.call is not None)
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
