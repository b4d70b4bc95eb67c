"""The layer to collect: a name or pattern, and how its activations are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from txray.capture.forward.hooks import Part, Side
from txray.capture.forward.layout import Axes
from txray.capture.forward.through import ThroughLike, require_through
from txray.capture.selection import Selection
from txray.checks import is_integer
from txray.errors import UnknownNameError, UsageError

Units = Literal["element", "head"]
"""What a unit of a layer is: an element of its activations, or an attention head."""
UNITS: tuple[Units, ...] = get_args(Units)

_INPUT, _OUTPUT, _HEAD, _HEADS, _CALL, _EXPERT = "input", "output=", "head", "heads=", "call=", "expert="
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
        output: which part of the output to read, if it is a tuple, a mapping or a record: an index or a name, or a path
            such as `hidden_states.2`. By default its first tensor.
        units: `element` for one unit per element of the activations; `head` for one unit per attention head, whose
            activation is the norm of its elements.
        heads: number of heads, which implies units="head"; by default that of the axes, the module or the model's
            configuration.
        expert: for a module that holds the weights of several experts: the number of the expert whose neurons are
            read, from 0, or `*` for all experts, each as a layer of its own.
        through: a module that is applied to the activations of the words, and whose outputs are collected instead, such
            as a sparse autoencoder; its method `encode` if it has one. Or the folder of an autoencoder (see
            `txray.load_autoencoder`); for a pattern, also a mapping or a function from names of layers to modules.

    Raises:
        UnknownNameError: unknown units.
        UsageError: an option has a value of the wrong type, or `expert`, `input`, `output` and
            `units` are combined in a way that has no meaning.
    """

    name: str
    layout: Axes = "auto"
    lag: int | None = None
    selection: Selection | str | None = None
    call: int | None = None
    input: bool = False
    output: Part | None = None
    units: Units = "element"
    heads: int | None = None
    expert: int | Literal["*"] | None = None
    through: ThroughLike | None = field(default=None, repr=False, hash=False)

    def __post_init__(self) -> None:
        if self.call is not None:
            self._set_integer("call", "an integer, 0 for the first call")
        if not isinstance(self.input, bool):
            raise UsageError(f"layer {self.name!r}: input={self.input!r}; pass True or False")
        self._check_output()
        if self.through is not None:
            require_through(self.name, self.through)
        if self.units not in UNITS:
            raise UnknownNameError.of("units", self.units, UNITS)
        if self.heads is not None:
            self._set_integer("heads", "the number of attention heads")
            if self.heads < 1:
                raise UsageError(f"layer {self.name!r}: heads={self.heads}; pass a number of at least 1")
            object.__setattr__(self, "units", "head")
        self._check_expert()

    def _set_integer(self, option: str, expected: str) -> None:
        value = getattr(self, option)
        if not is_integer(value):
            raise UsageError(f"layer {self.name!r}: {option}={value!r}; pass {expected}")
        object.__setattr__(self, option, int(value))  # NumPy integers cannot be written as JSON

    def _check_output(self) -> None:
        if self.output is None:
            return
        if self.input:
            raise UsageError(
                f"layer {self.name!r}: input=True and output={self.output!r}; a part can be chosen of an output only"
            )
        if isinstance(self.output, str) and self.output and ":" not in self.output:
            if self.output.isdecimal():
                object.__setattr__(self, "output", int(self.output))
        elif is_integer(self.output) and int(self.output) >= 0:
            object.__setattr__(self, "output", int(self.output))
        else:
            raise UsageError(
                f"layer {self.name!r}: output={self.output!r}; pass an index from 0, or the name of a part"
            )

    def _check_expert(self) -> None:
        if self.expert is None:
            return
        if self.expert != "*":
            self._set_integer("expert", "a number from 0, or '*' for all experts")
        if isinstance(self.expert, int) and self.expert < 0:
            raise UsageError(
                f"layer {self.name!r}: expert={self.expert}; pass a number from 0, or '*' for all experts"
            )
        for option, given in (
            ("input=True", self.input),
            (f"output={self.output!r}", self.output is not None),
            ("units='head'", self.units == "head"),
        ):
            if given:
                raise UsageError(
                    f"layer {self.name!r}: expert={self.expert!r} and {option}; choose one: the neurons of an expert "
                    "are neither an input nor an output of its module"
                )

    @classmethod
    def parse(cls, text: str) -> Layer:
        """Return the layer described by a text such as `act:call=1`, `mlp.down_proj:input` or `mlp.experts:expert=3`.

        A text with any other option after a colon is taken as the name of a layer.

        Raises:
            UsageError: an option occurs twice.
        """
        name, *options = text.split(":")
        settings: dict[str, Any] = {}
        for option in options:
            setting = _setting(option)
            if setting is None:
                return cls(text)
            key, value = setting
            if key in settings:
                raise UsageError(f"layer {text!r}: option {option!r} occurs twice; give it once")
            settings[key] = value
        return cls(name, **settings)

    @property
    def label(self) -> str:
        """Return the name of the layer in a stage: its name and its options, such as `act:call=1`."""
        options = [_INPUT] if self.input else []
        if self.output is not None:
            options.append(f"{_OUTPUT}{self.output}")
        if self.units == "head":
            options.append(_HEAD if self.heads is None else f"{_HEADS}{self.heads}")
        if self.call is not None:
            options.append(f"{_CALL}{self.call}")
        if self.expert is not None:
            options.append(f"{_EXPERT}{self.expert}")
        return ":".join((self.name, *options))

    @property
    def side(self) -> Side:
        """Return which tensor of a call is read."""
        return "input" if self.input else "output"


def _setting(option: str) -> tuple[str, Any] | None:
    """Return the attribute and the value that an option of the text form sets; None if there is no such option."""
    if option == _INPUT:
        return "input", True
    if option == _HEAD:
        return "units", "head"
    if option.startswith(_HEADS) and option.removeprefix(_HEADS).isdecimal():
        return "heads", int(option.removeprefix(_HEADS))
    if option.startswith(_CALL) and option.removeprefix(_CALL).removeprefix("-").isdecimal():
        return "call", int(option.removeprefix(_CALL))
    expert = option.removeprefix(_EXPERT)
    if option.startswith(_EXPERT) and (expert == "*" or expert.isdecimal()):
        return "expert", "*" if expert == "*" else int(expert)
    if option.startswith(_OUTPUT) and option != _OUTPUT:
        return "output", option.removeprefix(_OUTPUT)
    return None


Layers = str | Layer | Sequence[str | Layer]
"""Names of modules, patterns or `Layer` objects; a single one needs no list."""


def as_layers(layers: Layers) -> Sequence[str | Layer]:
    """Return one or several layers as a sequence."""
    return (layers,) if isinstance(layers, str | Layer) else layers
