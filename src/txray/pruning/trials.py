"""Runs of a model with something silenced, each made once: what is done is kept, and goes on after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from txray.errors import OutputError, StageError, TxrayError, UsageError, in_one_line
from txray.files import atomic_file
from txray.pruning.evaluation import Evaluator, Model
from txray.pruning.mask import Mask
from txray.pruning.masking import masked
from txray.pruning.outcomes import Measured, Outcomes

Metric = Callable[[], float | Sequence[float] | Mapping[str, float | Sequence[float]]]
"""Measures the model as it is now: one number, or one per document, or several by name."""

Advance = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Trials:
    """A model on one text.

    Attributes:
        model: that is scored.
        evaluator: of the text; None where a metric of the user's measures.
        metric: of the user's.
        folder: that outcomes are kept in; None: nowhere.
        fingerprint: of the model.
    """

    model: Model
    evaluator: Evaluator | None
    metric: Metric | None
    folder: Path | None
    fingerprint: str

    @classmethod
    def of(cls, evaluator: Evaluator, folder: Path | None, fingerprint: str) -> Trials:
        """On a text."""
        return cls(evaluator.model, evaluator, None, folder, fingerprint)

    @classmethod
    def measured(cls, model: Model, metric: Metric, fingerprint: str) -> Trials:
        """By a metric of the user's; nothing is kept, because nobody knows what it depends on."""
        return cls(model, None, metric, None, fingerprint)

    @property
    def digest(self) -> str:
        """Of the documents; empty where a metric of the user's measures."""
        return "" if self.evaluator is None else self.evaluator.inputs.documents_digest

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Return (n_documents,) number of the group of each document; None where a metric of the user's measures."""
        return None if self.evaluator is None else self.evaluator.inputs.groups

    @property
    def positions(self) -> float:
        """What one trial costs, in positions read."""
        return 1.0 if self.evaluator is None else float(self.evaluator.inputs.words)

    def outcomes(self, name: str, mask: Mask, advance: Advance) -> Outcomes:
        """What the model makes of the text with a mask on.

        Args:
            name: of what is silenced, for errors.
            mask: of one layer; without neurons: the model as it is.
            advance: told positions read.

        Raises:
            UsageError: a mask that the model cannot have, or a metric that fails.
            OutputError: the folder cannot be written.
            StageError: what is kept is damaged.
        """
        if self.evaluator is None:
            with masked(self.model, mask):
                found: Outcomes = self._by_metric(name)
            advance(1)
            return found
        file = self._file(mask)
        if file is not None and file.exists() and len(mask):
            advance(self.positions)
            return self._kept(file)
        with masked(self.model, mask) as documents:
            found = self.evaluator.outcomes(documents, advance)
        if file is not None:
            # The whole model always runs: what a forward pass computes, weights alone do not tell.
            if file.exists() and not _agree(self._kept(file), found):
                raise StageError(
                    f"{file.parent}: was made by a model that computes something else with the same weights; name "
                    "another folder, or remove this one"
                )
            _write(file, found)
        return found

    def _kept(self, file: Path) -> Outcomes:
        """What an earlier run found."""
        assert self.evaluator is not None
        try:
            found = self.evaluator.read(_read(file))
            arrays = list(found.arrays().values())
            if found.documents != self.evaluator.inputs.documents or not all(
                len(each) == found.documents and np.isfinite(each).all() for each in arrays
            ):
                raise ValueError("other documents, or no numbers")
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise StageError(f"{file}: damaged ({error}); remove it, it is made again") from error
        return found

    def _file(self, mask: Mask) -> Path | None:
        if self.folder is None or self.evaluator is None:
            return None
        told = {
            "model": self.fingerprint,
            "text": self.evaluator.inputs.digest,
            "layer": mask.layer if len(mask) else "",
            "neurons": list(mask.neurons),
            "ablation": mask.ablation if len(mask) else "",
            "when": mask.when if len(mask) else "",
            "values": None if mask.values is None or not len(mask) else mask.values.tolist(),
            "seed": mask.seed if mask.ablation == "resample" and len(mask) else 0,
        }
        key = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        return self.folder / f"{key[:32]}.npz"

    def _by_metric(self, name: str) -> Measured:
        assert self.metric is not None
        try:
            given = self.metric()
            named = given if isinstance(given, Mapping) else {"metric": given}
            values = {key: np.atleast_1d(np.asarray(value, np.float64)) for key, value in named.items()}
            if not values or not all(each.ndim == 1 and len(each) for each in values.values()):
                raise ValueError("it gives no number")
            if not all(np.isfinite(each).all() for each in values.values()):
                raise ValueError("it gives what is no finite number")
        except TxrayError:
            raise
        except Exception as error:
            raise UsageError(
                f"metric: failed with {name} pruned: {type(error).__name__}: {in_one_line(error)}; it must give a "
                "number, one per document, or such by name"
            ) from error
        return Measured(values)


def _agree(one: Outcomes, other: Outcomes) -> bool:
    """Whether two runs found the same, to rounding."""
    pairs = zip(one.arrays().values(), other.arrays().values(), strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs)


def _write(file: Path, outcomes: Outcomes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{file.parent}: {error.strerror}; check the path") from error
    with atomic_file(file) as new, new.open("wb") as opened:
        np.savez(opened, **outcomes.arrays())  # type: ignore[arg-type]  # of arrays only


def _read(file: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    try:
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except Exception as error:  # a damaged archive fails in every way that there is
        raise StageError(f"{file}: damaged ({type(error).__name__}); remove it, it is made again") from error
