"""Match the outputs of experts that are modules of their own, and of layers inside them, to positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from txray.capture.forward.calls import Call, Trace
from txray.capture.forward.dry_runs import DryRuns
from txray.capture.forward.hooks import VERBS, Side, first_tensor
from txray.capture.forward.routes import RoutedRows
from txray.capture.model_adapter import ModelAdapter
from txray.errors import CaptureError


@dataclass(frozen=True)
class ModuleExpert:
    """Reads a layer inside an expert that runs on the positions routed to it.

    The positions are those whose inputs equal the inputs of the expert, bit by bit.

    Attributes:
        expert: name of the module of the expert.
        caller: name of the module that calls it; '' for the model.
        source, source_side: the tensor with the inputs of all positions: a layer, and its side.
        neurons: number of neurons of the layer that is read.
    """

    expert: str
    caller: str
    source: str
    source_side: Side
    neurons: int

    @contextmanager
    def attached(
        self, modules: Mapping[str, nn.Module], layer: str, side: Side, put: Callable[[RoutedRows], None]
    ) -> Iterator[None]:
        """Call `put` at the end of every call of the caller, also if it does not call the expert."""
        state = _Pass()
        expert, caller = modules[self.expert], modules[self.caller]

        def begin(module: nn.Module, inputs: Any) -> None:
            state.clear()

        def read_source(value: Any) -> None:
            tensor = first_tensor(value)
            state.source = None if tensor is None else tensor.detach().reshape(-1, tensor.shape[-1]).clone()

        def begin_expert(module: nn.Module, inputs: Any, named: Mapping[str, Any]) -> None:
            state.rows.append(_rows((*inputs, *named.values()), self.expert, "input"))
            state.running = True

        def read_layer(value: Any) -> None:
            if state.running:
                state.values.append(_rows(value, layer, side).clone())

        def end_expert(module: nn.Module, inputs: Any, output: Any) -> None:
            state.running = False

        def end(module: nn.Module, inputs: Any, output: Any) -> None:
            put(self._routed(layer, side, state))

        with ExitStack() as hooks:
            hooks.enter_context(caller.register_forward_pre_hook(begin))
            hooks.enter_context(_hook(modules[self.source], self.source_side, read_source))
            hooks.enter_context(expert.register_forward_pre_hook(begin_expert, with_kwargs=True))
            hooks.enter_context(_hook(modules[layer], side, read_layer))
            hooks.enter_context(expert.register_forward_hook(end_expert))
            hooks.enter_context(caller.register_forward_hook(end))
            yield

    def _routed(self, layer: str, side: Side, state: _Pass) -> RoutedRows:
        """Return what the expert computed in one call of its caller."""
        source = state.source
        if source is None:
            raise CaptureError(
                f"layer {layer!r}: {self.source!r} did not run before the expert; choose another layer"
            )
        if not state.rows:
            return RoutedRows(
                source.new_zeros((0, self.neurons)),
                torch.zeros(0, dtype=torch.int64, device=source.device),
                len(source),
            )
        rows = torch.cat(state.rows)
        shapes = [tuple(values.shape) for values in state.values]
        if shapes != [(len(part), self.neurons) for part in state.rows]:
            raise CaptureError(
                f"layer {layer!r}: {VERBS[side]} {shapes[:3]} for {len(rows)} positions routed to the expert; "
                "it must run once and return one row per position; choose another layer of the expert"
            )
        matched = matched_rows(rows, source)
        if matched is None:
            raise CaptureError(
                f"layer {layer!r}: the inputs of {self.expert!r} are not among those of {self.source!r}, so its "
                "rows cannot be matched to words; choose another layer"
            )
        values = torch.cat(state.values)[matched.row]
        return RoutedRows(values, matched.position, len(source), matched.ambiguous)


@dataclass(eq=False)
class _Pass:
    """Tensors recorded during one call of the module around the experts.

    Attributes:
        source: (positions, size) inputs of all positions.
        rows: (n, size) inputs of the expert, call by call.
        values: (n, neurons) activations of the layer, call by call.
        running: whether the expert runs now: an activation function may be shared by all experts.
    """

    source: Tensor | None = None
    rows: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    running: bool = False

    def clear(self) -> None:
        """Forget everything."""
        self.source, self.rows, self.values, self.running = None, [], [], False


@dataclass(frozen=True, eq=False)
class MatchedRows:
    """Rows of a tensor that were found among the rows of another one.

    Attributes:
        row: (n,) index of each row that was found.
        position: (n,) index of an equal row of the other tensor; distinct.
        ambiguous: (m,) indices of equal rows of the other tensor of which only some may have been given.
    """

    row: Tensor
    position: Tensor
    ambiguous: Tensor


def matched_rows(rows: Tensor, source: Tensor) -> MatchedRows | None:
    """Match rows to rows of `source` that equal them bit by bit, the first to the first of several equal ones.

    A row that is given more often than it occurs in `source` was computed several times; only the first counts.

    Args:
        rows: (n, size) rows.
        source: (positions, size) rows to search in.

    Returns:
        The matched rows; None if a row is not in `source`.
    """
    if rows.dtype != source.dtype or rows.shape[1:] != source.shape[1:]:
        return None
    keys, known = _hashes(rows), _hashes(source)
    ordered, order = torch.sort(known, stable=True)
    ordered_keys, order_of_keys = torch.sort(keys, stable=True)
    first = torch.searchsorted(ordered, keys)
    n_equal = torch.searchsorted(ordered, keys, right=True) - first
    occurrence = torch.empty_like(first)
    occurrence[order_of_keys] = torch.arange(len(keys), device=keys.device) - torch.searchsorted(
        ordered_keys, ordered_keys
    )
    if not bool((n_equal > 0).all()):
        return None
    if not torch.equal(_bits(source)[order[first]], _bits(rows)):
        return None  # equal hashes of different rows
    row = torch.nonzero(occurrence < n_equal).squeeze(-1)
    n_given = torch.searchsorted(ordered_keys, known, right=True) - torch.searchsorted(ordered_keys, known)
    n_known = torch.searchsorted(ordered, known, right=True) - torch.searchsorted(ordered, known)
    ambiguous = torch.nonzero(n_given % n_known != 0).squeeze(-1)
    return MatchedRows(row, order[(first + occurrence)[row]], ambiguous)


_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _bits(values: Tensor) -> Tensor:
    return values.contiguous().view(_INTEGERS[values.element_size()])


def _hashes(values: Tensor) -> Tensor:
    """Return (n,) hashes of rows, with which equal rows are found without comparing all pairs."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(1 << 62), 1 << 62, (values.shape[1],), generator=generator) * 2 + 1
    return (_bits(values).to(torch.int64) * factors.to(values.device)).sum(dim=-1)


def module_expert(adapter: ModelAdapter, runs: DryRuns, layer: str, side: Side) -> ModuleExpert | None:
    """Return the expert that a layer is part of, recognized in dry runs; None if it sees every position.

    An expert is an entry of a `ModuleList` or `ModuleDict` whose entries are called by one module, on some of the
    positions each.
    """
    parts = layer.split(".")
    for n in range(len(parts), 1, -1):
        expert = ".".join(parts[:n])
        siblings = _siblings(runs.first.modules, expert)
        if not siblings or not _sees_some(runs, siblings):
            continue
        inner = layer[len(expert) :]
        neurons = _neurons(runs, [expert, *siblings], inner, side)
        caller = _caller(runs, siblings)
        if neurons is None or caller is None:
            continue
        if (caller, *siblings) not in runs.sources:
            runs.sources[caller, *siblings] = _source(adapter, runs, siblings, caller)
        source = runs.sources[caller, *siblings]
        if source is not None:
            return ModuleExpert(expert, caller, *source, neurons)
    return None


def _siblings(modules: Mapping[str, nn.Module], name: str) -> list[str]:
    """Return the entries of the list or dictionary of modules that a module is in; empty if in none."""
    container, _, _ = name.rpartition(".")
    if not isinstance(modules.get(container), nn.ModuleList | nn.ModuleDict):
        return []
    names = [f"{container}.{key}" for key, _ in modules[container].named_children()]
    return names if len(names) > 1 else []


def _sees_some(runs: DryRuns, siblings: Sequence[str]) -> bool:
    """Return whether modules run on rows, and not all of them on one row for every position."""
    shapes: set[int | None] = set()
    for trace, positions in runs.positions():
        for name in siblings:
            calls = trace.all_calls(name)
            if any(call.input_shape is None or len(call.input_shape) != 2 for call in calls):
                return False
            n_rows = [call.input_shape[0] for call in calls if call.input_shape is not None]
            shapes.add(None if not calls else sum(n_rows) - positions)
    return shapes != {0} and shapes != {None}


def _caller(runs: DryRuns, siblings: Sequence[str]) -> str | None:
    """Return the name of the module that calls all of these modules, once in every forward pass."""
    modules: set[nn.Module | None] = set()
    for trace, _ in runs.positions():
        callers = {call.caller for name in siblings for call in trace.all_calls(name)}
        if len(callers) > 1:
            return None
        modules |= {None if caller is None else caller.module for caller in callers}
    if len(modules) != 1:
        return None
    (module,) = modules
    if module is None or module not in runs.first.modules.values():
        return ""
    return next(name for name, other in runs.first.modules.items() if other is module)


def _neurons(runs: DryRuns, experts: Sequence[str], inner: str, side: Side) -> int | None:
    """Return the number of neurons of a layer inside an expert, or inside another one if that did not run."""
    for name in experts:
        expert = runs.first.modules[name]
        for trace, _ in runs.positions():
            if name + inner not in trace.modules:
                continue
            for call in trace.all_calls(name + inner):
                shape = call.output_shape if side == "output" else call.input_shape
                if (not inner or call.runs_within(expert)) and shape is not None and len(shape) == 2:
                    return shape[1]
    return None


def _source(
    adapter: ModelAdapter, runs: DryRuns, experts: Sequence[str], caller: str
) -> tuple[str, Side] | None:
    """Return the layer, and its side, whose rows contain the inputs of all experts in two forward passes."""
    modules = runs.first.modules
    near = [
        name
        for name in runs.first.ran
        if any(modules[name] is call.module for call in _calls_by(runs.first, caller))
    ]
    watched = DryRuns.of(adapter, dict.fromkeys([*near, *experts, *([caller] if caller else [])]))
    candidates: list[tuple[str, Side]] = [(caller, "input")] if caller else []
    candidates += [(name, "output") for name in near if name not in experts]
    for name, side in candidates:
        seen = [_seen_by(trace, name, side, experts, n) for trace, n in watched.positions()]
        # Heads that all read the same positions, such as the first ones, are no experts.
        if None not in seen and any(len(set(positions)) > 1 for positions in seen if positions is not None):
            return name, side
    return None


def _calls_by(trace: Trace, caller: str) -> list[Call]:
    """Return the calls that a module made itself, in its only call."""
    return trace.called_by(trace.all_calls(caller)[0] if caller else None)


def _seen_by(
    trace: Trace, name: str, side: Side, experts: Sequence[str], positions: int
) -> list[tuple[int, ...]] | None:
    """Return the positions that each expert sees; None if their inputs are not rows of this tensor."""
    calls = trace.all_calls(name)
    value = None if len(calls) != 1 else calls[0].input if side == "input" else calls[0].output
    if value is None or value.snapshot.dim() < 2:
        return None
    source = value.snapshot.reshape(-1, value.snapshot.shape[-1])
    if len(source) != positions:
        return None
    seen: list[tuple[int, ...]] = []
    for expert in experts:
        indices: list[int] = []
        for call in trace.all_calls(expert):
            matched = None if call.input is None else matched_rows(call.input.snapshot, source)
            if matched is None:
                return None
            indices += matched.position.tolist()
        seen.append(tuple(sorted(indices)))
    return seen


def _hook(module: nn.Module, side: Side, read: Callable[[Any], None]) -> Any:
    if side == "output":
        return module.register_forward_hook(lambda module, inputs, output: read(output))
    return module.register_forward_pre_hook(
        lambda module, inputs, named: read((*inputs, *named.values())), with_kwargs=True
    )


def _rows(value: Any, label: str, side: Side) -> Tensor:
    tensor = first_tensor(value)
    if tensor is None or tensor.dim() != 2:
        shape = "no tensor" if tensor is None else tuple(tensor.shape)
        raise CaptureError(
            f"layer {label!r}: {VERBS[side]} {shape} instead of one row per position routed to it"
        )
    return tensor.detach()
