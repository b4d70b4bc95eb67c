"""Runs of a model with masks, which are stored and reused after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from txray.errors import OutputError, StageError, TxrayError, UsageError, in_one_line
from txray.files import atomic_file
from txray.pruning.evaluation import Evaluator, Model
from txray.pruning.mask import Mask
from txray.pruning.masking import MaskTarget, masked
from txray.pruning.predictions import Predictions, UserMetrics

Metric = Callable[[], float | Sequence[float] | Mapping[str, float | Sequence[float]]]
"""Scores the model in its current state: one number, one per document, or several by name."""

Advance = Callable[[float], None]

_TOGETHER = 32
"""Number of masks that read a text at the same time; an interruption loses at most these runs."""


@dataclass(frozen=True, eq=False)
class AblationRunner:
    """Runs a model on one text, with neurons ablated.

    Attributes:
        model: model to score.
        fingerprint: fingerprint of the model.
        evaluator: evaluator of the text; None for a user-defined metric.
        folder: folder where predictions are stored; None: not stored.
        metric: user-defined metric. Its results are not stored, because what they depend on is unknown.
    """

    model: Model
    fingerprint: str
    evaluator: Evaluator | None = None
    folder: Path | None = None
    metric: Metric | None = None

    @property
    def digest(self) -> str:
        """Return the hash of the documents; empty for a user-defined metric."""
        return "" if self.evaluator is None else self.evaluator.inputs.documents_digest

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Return the (n_documents,) group number of each document; None for a user-defined metric."""
        return None if self.evaluator is None else self.evaluator.inputs.groups

    @property
    def positions(self) -> float:
        """Return the number of positions read in one run."""
        return 1.0 if self.evaluator is None else float(self.evaluator.inputs.n_positions)

    def run(self, name: str, mask: Mask, advance: Advance) -> Predictions:
        """Return the predictions of the model with a mask; without neurons, those of the unpruned model.

        Args:
            name: description of the ablated neurons, for errors.
            mask: mask of one layer.
            advance: called with the number of positions read.

        Raises:
            UsageError: the mask does not fit the model, or a metric fails.
            OutputError: the folder cannot be written.
            StageError: stored predictions are damaged.
        """
        if self.evaluator is None:
            with masked(self.model, mask):
                user_metrics = self._user_metrics(name)
            advance(1)
            return user_metrics
        file = self._file(mask)
        if file is not None and file.exists() and len(mask):
            advance(self.positions)
            return self._stored(file)
        with masked(self.model, mask) as batch_keys:
            predictions = self.evaluator.predict(batch_keys, advance)
        if file is not None:
            # The unpruned model always runs: weights alone do not determine what a forward pass computes.
            if file.exists() and not _agree(self._stored(file), predictions):
                raise StageError(
                    f"{file.parent}: was written by a model that computes something else with the same weights; use "
                    "another folder, or remove this one"
                )
            _write(file, predictions)
        return predictions

    def run_each(
        self, target: MaskTarget, named: Sequence[tuple[str, Mask]], advance: Advance
    ) -> Iterator[Predictions]:
        """Yield the predictions with each of many masks of one layer, which share the activations before it.

        Args:
            target: the layer.
            named: description of the ablated neurons, for errors, and mask; all of one scope, with neurons.
            advance: called with the number of positions read.

        Raises:
            UsageError, OutputError, StageError: see `run`.
        """
        for start in range(0, len(named), _TOGETHER):
            group = named[start : start + _TOGETHER]
            if self.evaluator is None:
                for name, mask in group:
                    yield self.run(name, mask, advance)
                continue
            files = [self._file(mask) for _, mask in group]
            is_stored = [file is not None and file.exists() for file in files]
            missing = [mask for (_, mask), stored in zip(group, is_stored, strict=True) if not stored]
            computed = iter(self.evaluator.predict_masked(target, missing, advance) if missing else ())
            results: list[Predictions | None] = []
            for file, stored in zip(files, is_stored, strict=True):
                # What was computed is stored before anything is used, so that an interruption loses none of it.
                predictions = None if stored else next(computed)
                if file is not None and predictions is not None:
                    _write(file, predictions)
                results.append(predictions)
            for file, predictions in zip(files, results, strict=True):
                if predictions is None and file is not None:
                    advance(self.positions)
                    predictions = self._stored(file)
                assert predictions is not None
                yield predictions

    def _stored(self, file: Path) -> Predictions:
        """Return the predictions of an earlier run."""
        assert self.evaluator is not None
        n_documents = self.evaluator.inputs.n_documents
        try:
            predictions = self.evaluator.predictions(_read(file))
            if predictions.n_documents != n_documents or not all(
                len(array) == n_documents and np.isfinite(array).all()
                for array in predictions.arrays().values()
            ):
                raise ValueError("other documents, or numbers that are not finite")
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise StageError(f"{file}: damaged ({error}); remove it, it is computed again") from error
        return predictions

    def _file(self, mask: Mask) -> Path | None:
        if self.folder is None or self.evaluator is None:
            return None
        described = {
            "model": self.fingerprint,
            "text": self.evaluator.inputs.digest,
            "layer": mask.layer if len(mask) else "",
            "neurons": list(mask.neurons),
            "ablation": mask.ablation if len(mask) else "",
            "scope": mask.scope if len(mask) else "",
            "values": None if mask.values is None or not len(mask) else mask.values.tolist(),
            "seed": mask.seed if mask.ablation == "resample" and len(mask) else 0,
        }
        key = hashlib.sha256(json.dumps(described).encode()).hexdigest()
        return self.folder / f"{key[:32]}.npz"

    def _user_metrics(self, name: str) -> UserMetrics:
        assert self.metric is not None
        try:
            result = self.metric()
            by_name = result if isinstance(result, Mapping) else {"metric": result}
            values = {key: np.atleast_1d(np.asarray(value, np.float64)) for key, value in by_name.items()}
            if not values or not all(array.ndim == 1 and len(array) for array in values.values()):
                raise ValueError("it returns no number")
            if not all(np.isfinite(array).all() for array in values.values()):
                raise ValueError("it returns a number that is not finite")
        except TxrayError:
            raise
        except Exception as error:
            raise UsageError(
                f"metric: failed with {name} pruned: {type(error).__name__}: {in_one_line(error)}; it must return a "
                "number, one per document, or a mapping of names to these"
            ) from error
        return UserMetrics(values)


def _agree(stored: Predictions, computed: Predictions) -> bool:
    """Return whether two runs have the same predictions, up to rounding."""
    pairs = zip(stored.arrays().values(), computed.arrays().values(), strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs)


def _write(file: Path, predictions: Predictions) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{file.parent}: {error.strerror}; check the path") from error
    with atomic_file(file) as new, new.open("wb") as opened:
        np.savez(opened, **predictions.arrays())  # type: ignore[arg-type]  # only arrays


def _read(file: Path) -> NDArray[np.float64]:
    try:
        with np.load(file, allow_pickle=False) as content:
            (name,) = content.files
            array: NDArray[np.float64] = content[name]
            return array
    except Exception as error:  # a damaged archive may raise anything
        raise StageError(
            f"{file}: damaged ({type(error).__name__}); remove it, it is computed again"
        ) from error
