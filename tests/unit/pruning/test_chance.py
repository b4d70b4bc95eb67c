"""Whether a whole model is better than one that knows nothing."""

from __future__ import annotations

import numpy as np
import pytest

from txray.pruning.bootstrap import Bootstrap
from txray.pruning.chance import above_chance, chance_note
from txray.pruning.predictions import ClassPredictions, UserMetrics, WordPredictions


def classified(target: list[int], score: list[float]) -> ClassPredictions:
    """Two classes; the score is that of the second."""
    logits = np.stack((np.zeros(len(score)), np.array(score)), axis=1)
    return ClassPredictions(
        logits - np.logaddexp(logits[:, 0], logits[:, 1])[:, None], np.array(target, dtype=np.int64)
    )


def levels(
    outcomes: ClassPredictions | WordPredictions | UserMetrics,
) -> dict[str, dict[str, float | bool | None]]:
    return Bootstrap.of(outcomes, "digest", 500).chance(outcomes)


def test_the_level_of_accuracy_is_the_share_of_the_largest_class() -> None:
    target = [0] * 70 + [1] * 30
    always = levels(classified(target, [-1.0] * 100))["accuracy"]
    assert (always["value"], always["chance"], always["above"]) == (0.7, 0.7, False)
    assert (always["low"], always["high"]) == (0.0, 0.0)
    right = levels(classified(target, [-1.0] * 70 + [1.0] * 30))["accuracy"]
    assert (right["value"], right["above"]) == (1.0, True)


def test_a_good_ranking_with_a_bad_threshold_is_above_chance_by_auroc_only() -> None:
    found = levels(classified([0] * 90 + [1] * 10, [-2.0] * 90 + [-1.0] * 10))
    assert found["auroc"] == {"value": 1.0, "chance": 0.5, "low": 0.5, "high": 0.5, "above": True}
    assert found["accuracy"]["above"] is False
    assert above_chance(found, "f1")
    assert above_chance(found, "accuracy") is False
    assert "accuracy 0.900, by chance 0.900" in chance_note(found)
    assert chance_note(found, "f1") == ""


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_noise_are_not_above_chance(seed: int) -> None:
    random = np.random.default_rng(seed + 100)
    found = levels(classified(random.integers(0, 2, 200).tolist(), random.normal(size=200).tolist()))
    assert not found["auroc"]["above"]
    low, high = found["auroc"]["low"], found["auroc"]["high"]
    assert low is not None
    assert high is not None
    assert low < found["auroc"]["value"] - 0.5 < high  # type: ignore[operator]
    assert "AUROC" in chance_note(found, "loss")


def test_worse_than_chance_is_not_above_it() -> None:
    found = levels(classified([0] * 40 + [1] * 40, [1.0] * 40 + [-1.0] * 40))
    assert found["auroc"]["value"] == 0
    assert above_chance(found, "auroc") is False


def test_what_cannot_be_known_is_not_claimed() -> None:
    one_class = levels(classified([1] * 20, [1.0] * 20))
    assert "auroc" not in one_class
    assert one_class["accuracy"]["above"] is False
    one_document = levels(classified([1], [1.0]))
    assert one_document["accuracy"]["above"] is None
    assert chance_note(one_document) == ""
    assert levels(WordPredictions(np.ones(5), np.ones(5))) == {}
    assert levels(UserMetrics({"mine": np.ones(5)})) == {}
    assert above_chance({}, "perplexity") is None
