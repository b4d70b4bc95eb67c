"""Ablation fingerprints: what the ablation of each neuron alone changes in the predictions for each document."""

from __future__ import annotations

import numpy as np

from txray.arrays import Floats
from txray.models.fingerprint import model_fingerprint
from txray.models.text_model import TextModel
from txray.progress import progress
from txray.pruning.ablation_runner import AblationRunner
from txray.pruning.evaluation import Evaluator
from txray.pruning.mask import Mask
from txray.pruning.masking import MaskTarget
from txray.pruning.predictions import ClassPredictions, Predictions, WordPredictions


def ablation_fingerprints(evaluator: Evaluator, layer: str) -> Floats:
    """Return the changes of the predictions by the ablation of each neuron of a layer, one neuron at a time.

    A neuron is ablated at every step, to 0. The text is read once for each neuron.

    Args:
        evaluator: evaluator of a text.
        layer: name of the layer.

    Returns:
        (n_changes, n_neurons): for language models, the change of the loss of each document in nats per predicted word;
        for classifiers, the change of the log-probability of each class of each document.

    Raises:
        UnknownNameError: unknown layer.
        UsageError: a layer that cannot be masked.
        CaptureError: the model fails, or returns scores that are not finite.
    """
    model = evaluator.model
    module = model.module if isinstance(model, TextModel) else model
    runner = AblationRunner(model, model_fingerprint(module), evaluator)
    n_neurons = MaskTarget.of(model, layer).n_neurons
    with progress(f"ablating {layer}", (n_neurons + 1) * runner.positions, unit="positions") as advance:
        unpruned = _scores(runner.run("nothing", Mask(layer, ()), advance))
        changes = np.empty((len(unpruned), n_neurons))
        for neuron in range(n_neurons):
            pruned = runner.run(f"neuron {neuron}", Mask(layer, (neuron,)), advance)
            changes[:, neuron] = _scores(pruned) - unpruned
    return changes


def _scores(predictions: Predictions) -> Floats:
    """Return the predictions as a vector: nats per word by document, or log-probabilities by document and class."""
    if isinstance(predictions, WordPredictions):
        return predictions.nats / predictions.words
    assert isinstance(predictions, ClassPredictions)
    return predictions.log_probability.ravel()
