"""Masks: the neurons of a layer to ablate, the values that replace their activations, and the file format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from txray.checks import is_integer
from txray.errors import ShapeError, SnapshotError, TxrayError, UnknownNameError, UsageError, in_one_line
from txray.files import write_text
from txray.pruning.choices import Ablation, Scope

ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)
SCOPES: tuple[Scope, ...] = get_args(Scope)

_FORMAT = 2


@dataclass(frozen=True, eq=False)
class Mask:
    """Ablated neurons of one layer.

    Attributes:
        layer: name of the layer.
        neurons: (k,) distinct indices in ascending order; empty for the unchanged model.
        ablation: values that replace the activations. `zero`: 0. `mean`: their mean over a text. `resample`: the
            activations at another word of that text, the same word for all neurons, drawn for each position of each
            document.
        scope: of a recurrent layer. `every-step`: the recurrence also sees the replaced values, at every time step.
            `final-state`: only the final state that the head of a classifier reads is changed, as in the published
            code. Other layers have `every-step` only.
        values: for `mean` (k,), for `resample` (n, k) activations to draw from; in the order of `neurons` as passed.
        seed: random seed of `resample`.

    Raises:
        UnknownNameError: unknown ablation or scope.
        UsageError: a neuron is listed twice or negative, or `values` are missing.
        ShapeError: `values` have another shape.

    Example:
        >>> Mask("rnn", [17, 3]).neurons
        (3, 17)

    Source:
        Rethmeier et al. 2020, section 3.4; `final-state` is what their code does.
    """

    layer: str
    neurons: Sequence[int]
    ablation: Ablation = "zero"
    scope: Scope = "every-step"
    values: NDArray[np.floating] | None = field(default=None, repr=False)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.ablation not in ABLATIONS:
            raise UnknownNameError.of("ablation", self.ablation, ABLATIONS)
        if self.scope not in SCOPES:
            raise UnknownNameError.of("scope", self.scope, SCOPES)
        if not isinstance(self.layer, str):
            raise UsageError(f"mask: layer {self.layer!r}; pass its name")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 63:
            raise UsageError(
                f"mask of layer {self.layer!r}: seed={self.seed}; pass an integer from 0 to 2^63 - 1"
            )
        neurons = _indices(self.layer, self.neurons)
        order = sorted(range(len(neurons)), key=neurons.__getitem__)
        object.__setattr__(self, "neurons", tuple(neurons[i] for i in order))
        if self.ablation != "zero":
            object.__setattr__(self, "values", self._checked_values()[..., order])

    def _checked_values(self) -> NDArray[np.floating]:
        k = len(self.neurons)
        if self.values is None:
            raise UsageError(
                f"mask of layer {self.layer!r}: ablation {self.ablation!r} needs values; "
                "create the mask with 'ActivationStats.mask'"
            )
        values = np.array(self.values, dtype=np.float32)
        fits = values.shape == (k,) if self.ablation == "mean" else values.ndim == 2 and values.shape[1] == k
        if not fits or not np.isfinite(values).all() or (k and not values.size):
            shape = f"({k},)" if self.ablation == "mean" else f"(n, {k})"
            raise ShapeError(
                f"mask of layer {self.layer!r}: values of shape {values.shape}; ablation {self.ablation!r} of {k} "
                f"neurons needs {shape} finite numbers"
            )
        values.flags.writeable = False
        return values

    def __len__(self) -> int:
        return len(self.neurons)

    def require_within(self, n_neurons: int) -> None:
        """Check the mask against the size of its layer.

        Raises:
            UsageError: a neuron does not exist, or all neurons are ablated.
        """
        if self.neurons and self.neurons[-1] >= n_neurons:
            missing = [neuron for neuron in self.neurons if neuron >= n_neurons]
            count = f" ({len(missing)} of the {len(self)} requested do not exist)" if len(missing) > 1 else ""
            raise UsageError(
                f"layer {self.layer!r} has no neuron {missing[0]}{count}; its neurons are 0 to {n_neurons - 1}"
            )
        if len(self) == n_neurons:
            raise UsageError(
                f"layer {self.layer!r}: all {n_neurons} neurons would be ablated; leave at least one"
            )

    def save(self, file: Path | str, *, model: str | None = None) -> Path:
        """Write the mask as JSON, and return the path.

        Args:
            file: path; an existing file is replaced.
            model: fingerprint of the model that the mask is for.

        Raises:
            OutputError: the file cannot be written.
        """
        content = {
            "format": _FORMAT,
            "model": model,
            "mask": {
                "layer": self.layer,
                "neurons": list(self.neurons),
                "ablation": self.ablation,
                "scope": self.scope,
                "values": None if self.values is None else self.values.tolist(),
                "seed": self.seed,
            },
        }
        write_text(Path(file), json.dumps(content, allow_nan=False) + "\n")
        return Path(file)

    @classmethod
    def load(cls, file: Path | str, *, model: str | None = None) -> Mask:
        """Read a mask written by `save`.

        Args:
            file: path.
            model: fingerprint of the model that the mask must be for; any model by default.

        Raises:
            SnapshotError: the file is missing, damaged, of another version, or for another model.
        """
        path = Path(file)
        if not path.is_file():
            raise SnapshotError(f"{path}: no such file; pass a mask written by 'txray prune export'")
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
            version = content.get("format") if isinstance(content, dict) else None
            if version != _FORMAT:
                raise SnapshotError(
                    f"{path}: format {version!r}; this version of txray reads format {_FORMAT}; export it again"
                )
            if model is not None and content["model"] not in (None, model):
                raise SnapshotError(
                    f"{path}: is for the model {content['model']!r}, not {model!r}; export it again"
                )
            stored = content["mask"]
            values = None if stored["values"] is None else np.array(stored["values"])
            return cls(**{**stored, "values": values})
        except SnapshotError:
            raise
        except (TxrayError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise SnapshotError(f"{path}: damaged: {in_one_line(error)}; export the mask again") from error


def _indices(layer: str, neurons: Iterable[Any]) -> list[int]:
    """Return the neurons as distinct integers."""
    indices: list[int] = []
    for neuron in neurons:
        if not is_integer(neuron) or neuron < 0:
            raise UsageError(
                f"mask of layer {layer!r}: neuron {neuron!r}; pass integers of at least 0, not a boolean mask"
            )
        indices.append(int(neuron))
    if len(set(indices)) < len(indices):
        duplicate = next(neuron for i, neuron in enumerate(indices) if neuron in indices[:i])
        raise UsageError(f"mask of layer {layer!r}: neuron {duplicate} is listed twice; list each once")
    return indices
