"""Record which module called which in a forward pass, to distinguish the calls of a shared module."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from txray.capture.forward.compiled import is_observable, without_compiled_code
from txray.capture.forward.hooks import (
    Part,
    first_tensor,
    modules_by_name,
    part_names,
    part_of,
    tensor_version,
)


@dataclass(frozen=True, eq=False)
class Value:
    """The input or output tensor of a call.

    Attributes:
        snapshot: a copy of the tensor at the time of the call.
        tensor: the tensor itself, which the model may have changed since.
        version: `tensor_version` at the time of the call.
    """

    snapshot: Tensor
    tensor: Tensor
    version: int

    @classmethod
    def of(cls, value: Any) -> Value | None:
        """Return the first tensor of the arguments or the output of a module; None if there is none."""
        tensor = first_tensor(value)
        if tensor is None:
            return None
        return cls(tensor.detach().clone(), tensor.detach(), tensor_version(tensor))

    @property
    def changed(self) -> bool:
        """Return whether the model has changed the tensor in place since the call."""
        return tensor_version(self.tensor) != self.version


@dataclass(eq=False)
class Call:
    """One call of a module.

    Attributes:
        module: the module that ran.
        caller: the call of the innermost module around it; None for the model itself.
        number: index of the call among the module's calls in this forward pass, from 0.
        input, output: tensors of the call, if the module is watched and has them.
        input_shape, output_shape: shapes of these tensors, of every module; None if there is none.
        parts: tensors of the watched parts of the output; None for a part that it lacks.
        part_names: names or indices of the parts of the output, if some are watched.
    """

    module: nn.Module
    caller: Call | None
    number: int
    input: Value | None = None
    output: Value | None = None
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    parts: Mapping[Part, Value | None] = field(default_factory=dict)
    part_names: Sequence[str] = ()

    @property
    def recursive(self) -> bool:
        """Return whether the module was called from within itself."""
        return self.runs_within(self.module)

    def runs_within(self, module: nn.Module) -> bool:
        """Return whether the call was made while another module ran."""
        caller = self.caller
        while caller is not None and caller.module is not module:
            caller = caller.caller
        return caller is not None


class Trace:
    """The calls of every module in one forward pass, in the order in which they began.

    If a module has several names, such as one activation function shared by all blocks, its calls are assigned to the
    names by their caller: the call made while `b.0` runs belongs to `b.0.act`, that made during `b.1` to `b.1.act`.

    Attributes:
        modules: the modules of the model by name, under all of their names.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        """Start without calls."""
        self.modules = modules
        self._calls: dict[nn.Module, list[Call]] = {}
        self._aliases: dict[nn.Module, list[str]] = {}
        for name, module in modules.items():
            self._aliases.setdefault(module, []).append(name)
        self._names_of_call: dict[Call, frozenset[str]] = {}

    def begin(self, module: nn.Module, caller: Call | None) -> Call:
        """Add a call."""
        calls = self._calls.setdefault(module, [])
        calls.append(Call(module, caller, len(calls)))
        return calls[-1]

    def called_by(self, caller: Call | None) -> list[Call]:
        """Return the calls that a call made itself; None for those of the model."""
        return [call for calls in self._calls.values() for call in calls if call.caller is caller]

    @property
    def ran(self) -> list[str]:
        """Return the names of the modules that ran."""
        return [name for name, module in self.modules.items() if module in self._calls]

    def aliases(self, name: str) -> list[str]:
        """Return the other names of a module."""
        return [other for other in self._aliases[self.modules[name]] if other != name]

    def all_calls(self, name: str) -> list[Call]:
        """Return the calls of a module under any of its names."""
        return self._calls.get(self.modules[name], [])

    def calls(self, name: str) -> list[Call]:
        """Return the calls of a module under this name, or all of its calls if it was never called under this name."""
        return self._calls_under(name) or self.all_calls(name)

    def distinct(self, names: Collection[str]) -> list[str]:
        """Return the names without duplicates: of names that stand for the same calls of a module, only the first."""
        # A name under which a module is never called stands for all of its calls, which its other names cover.
        called = [name for name in names if self._calls_under(name) or not self.all_calls(name)]
        modules = {self.modules[name] for name in called}
        seen: set[tuple[int, ...]] = set()
        distinct = []
        for name in names:
            if name not in called and self.modules[name] in modules:
                continue
            key = (id(self.modules[name]), *(call.number for call in self.calls(name)))
            if key not in seen:
                seen.add(key)
                distinct.append(name)
        return distinct

    def _calls_under(self, name: str) -> list[Call]:
        return [call for call in self.all_calls(name) if name in self._names(call)]

    def _names(self, call: Call) -> frozenset[str]:
        """Return the names under which a call may have been made; several if they cannot be distinguished."""
        known = self._names_of_call.get(call)
        if known is None:
            known = self._names_of_call[call] = self._name(call)
        return known

    def _name(self, call: Call) -> frozenset[str]:
        aliases = self._aliases[call.module]
        if len(aliases) == 1:
            return frozenset(aliases)
        caller = call.caller
        while caller is not None:
            callers = self._names(caller)
            if names := frozenset(name for name in aliases if self._owner(name) in callers):
                return names
            caller = caller.caller
        return frozenset(name for name in aliases if not self._owner(name)) or frozenset(aliases)

    def _owner(self, name: str) -> str:
        """Return the name of the innermost enclosing module that ran; '' for the model. A ModuleList never runs."""
        parts = name.split(".")
        for n in range(len(parts) - 1, 0, -1):
            around = ".".join(parts[:n])
            if self.modules.get(around) in self._calls:
                return around
        return ""


def _shape(value: Any) -> tuple[int, ...] | None:
    tensor = first_tensor(value)
    return None if tensor is None else tuple(tensor.shape)


@contextmanager
def tracing(model: nn.Module, watched: Collection[str] = (), parts: Collection[Part] = ()) -> Iterator[Trace]:
    """Record which modules run inside the block, with the inputs and outputs of those named in `watched`.

    `parts`: parts of their outputs to record besides.
    """
    modules = modules_by_name(model)
    values = {modules[name] for name in watched}
    trace = Trace(modules)
    running: list[Call] = []

    def begin(module: nn.Module, inputs: Any, named: Any) -> None:
        call = trace.begin(module, running[-1] if running else None)
        running.append(call)
        call.input_shape = _shape((*inputs, *named.values()))
        if module in values:
            call.input = Value.of((*inputs, *named.values()))

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        # A module that raised an error which the model caught has no end.
        while running and running[-1].module is not module:
            running.pop()
        if running:
            call = running.pop()
            call.output_shape = _shape(output)
            if module in values:
                call.output = Value.of(output)
                if parts:
                    call.parts = {part: Value.of(part_of(output, part)) for part in parts}
                    call.part_names = part_names(output)

    with ExitStack() as hooks, without_compiled_code():
        for module in filter(is_observable, dict.fromkeys(modules.values())):
            hooks.enter_context(module.register_forward_pre_hook(begin, with_kwargs=True))
            hooks.enter_context(module.register_forward_hook(end))
        yield trace
