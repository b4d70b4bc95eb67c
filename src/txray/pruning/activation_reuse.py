"""Reuse of activations: what a model computes before a masked layer is the same for every mask of that layer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from torch import Tensor, nn

from txray.capture.forward.compiled import is_observable
from txray.pruning.mask import Mask
from txray.pruning.masking import MaskTarget, forward_replaced

Output = tuple[nn.Module, Any, list[tuple[Tensor, int]]]
"""A module, what one call of it returned, and the tensors in that with their version counters."""


class ActivationReuse:
    """Runs of a model on the same inputs that differ in the mask of one layer.

    The first run records the outputs of all modules that have returned before the masked layer is called; later runs
    return these outputs instead of computing them again, bit for bit the same. Outputs that the model changes in place
    are not reused.

    Attributes:
        works: False if an output cannot be reused; every run then computes everything.
    """

    def __init__(self, root: nn.Module, target: MaskTarget, mask: Mask) -> None:
        self.works = True
        final_state = mask.scope == "final-state" and target.head is not None
        self._last: nn.Module = target.head if final_state and target.head is not None else target.module
        # The output of a layer is masked after it was computed, unless a recurrence computes it with the mask.
        self._includes_last = target.side == "output" and target.recurrent is None and not final_state
        inside = set(self._last.modules()) - ({self._last} if self._includes_last else set())
        self._modules = [
            module for module in root.modules() if module not in inside and is_observable(module)
        ]
        self._outputs: list[Output] | None = None
        self._open: list[list[Output]] = [[]]
        self._queues: dict[nn.Module, deque[Any]] = {}

    @contextmanager
    def run(self) -> Iterator[None]:
        """Record the outputs in the first run inside such a block, and return them in later ones.

        Enter the block before the mask, and run the model once in it, on the inputs of the first run.
        """
        if not self.works:
            yield
            return
        is_first = self._outputs is None
        if self._outputs is not None:
            self._queues = {}
            for module, output, _ in self._outputs:
                self._queues.setdefault(module, deque()).append(output)
        with ExitStack() as stack:
            for module in self._modules if is_first else self._queues:
                replacement = (self._recorded if is_first else self._replayed)(module)
                stack.enter_context(forward_replaced(module, replacement))
            if is_first:
                stack.enter_context(
                    self._last.register_forward_pre_hook(lambda *call: self._begin_last(), prepend=True)
                )
            yield
        # Something still queued was not called, and a changed version is a change in place.
        if self._outputs is None or any(self._queues.values()) or not self._is_unchanged():
            self.works = False

    def _begin_last(self) -> None:
        if not self._includes_last:
            self._freeze()

    def _freeze(self) -> None:
        """Keep the outputs of the calls that have returned; later calls are not recorded."""
        if self._outputs is None:
            self._outputs = [output for level in self._open for output in level]

    def _is_unchanged(self) -> bool:
        return all(
            tensor._version == version
            for _, _, versions in self._outputs or ()
            for tensor, version in versions
        )

    def _recorded(self, module: nn.Module) -> Callable[..., Any]:
        run = module.forward

        @wraps(run)
        def forward(*inputs: Any, **named: Any) -> Any:
            if self._outputs is not None:
                return run(*inputs, **named)
            self._open.append([])
            output = run(*inputs, **named)
            if self._outputs is None:
                # The calls inside this one need not be repeated if its own output is known.
                self._open.pop()
                self._open[-1].append((module, output, [(one, one._version) for one in _tensors(output)]))
                if module is self._last:
                    self._freeze()
            return output

        forward.ablates = getattr(run, "ablates", False)  # type: ignore[attr-defined]  # a function of ours
        return forward

    def _replayed(self, module: nn.Module) -> Callable[..., Any]:
        run, queue = module.forward, self._queues[module]

        @wraps(run)
        def forward(*inputs: Any, **named: Any) -> Any:
            return queue.popleft() if queue else run(*inputs, **named)

        forward.ablates = getattr(run, "ablates", False)  # type: ignore[attr-defined]  # a function of ours
        return forward


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors in an output."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from _tensors(tuple(output.values()))
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors(part)
