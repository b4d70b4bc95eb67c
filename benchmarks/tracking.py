"""Cost of a tracker: trainings with and without it, alternating, and whether budgets are kept.

python -m benchmarks.tracking [SECONDS]      of bare training, about; 60 by default
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch

import txray
from txray.models import RecurrentLanguageModel, language_model
from txray.tracking import CollectSpec, Tracker

_ROUNDS = 3
_CASES: tuple[tuple[str, int, float | None], ...] = (
    ("every 10th part of the training", 10, None),
    ("every step, budget 10%", 0, 0.10),
    ("every step, budget 5%", 0, 0.05),
)
"""Name, measurements between the first and the last (0: every step is due), and budget."""
_PERMUTATIONS = (10_000, 2_000, 0)


class Training:
    """A language model of 300 units and batches of 20 x 35 words; every run is the same."""

    def __init__(self) -> None:
        self.text = txray.demo_corpus("encyclopedia", words=100_000)
        self.spec = CollectSpec(self.text, ["rnn"], ["token", "pos"], max_words=10_000)

    def model(self) -> RecurrentLanguageModel:
        """Return the untrained model."""
        return language_model("lstm", self.text, embedding=300, hidden=300, seed=0).train()

    def losses(self, model: RecurrentLanguageModel, steps: int) -> Iterator[float]:
        """Train a model, and yield the loss of each step."""
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        torch.manual_seed(0)
        for _ in range(steps):
            ids = torch.randint(0, len(model.vocabulary), (20, 36))
            outputs, _ = model.hidden_states(ids[:, :-1], None)
            scores = model.decoder(model.dropout(outputs))
            loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield float(loss)

    def run(self, steps: int, tracker: Tracker | None) -> tuple[float, float]:
        """Return the seconds of a training, and of the timeline after it."""
        model = self.model()
        started = time.perf_counter()
        if tracker is not None:
            tracker.begin(model)
        for loss in self.losses(model, steps):
            if tracker is not None:
                tracker.step(model, loss=loss)
        if tracker is not None:
            tracker.measure(model, steps)
        trained = time.perf_counter()
        if tracker is not None:
            tracker.end(model)
        return trained - started, time.perf_counter() - trained


def print_costs_of_tests(training: Training, steps: int) -> None:
    """Print the costs of trackers with more and fewer permutations, which measure one training at the same steps.

    Processor time: wall-clock time depends on the other load of the machine.
    """
    ratios: dict[int, list[float]] = {permutations: [] for permutations in _PERMUTATIONS}
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            costs = dict.fromkeys(_PERMUTATIONS, 0.0)
            trackers = {
                permutations: Tracker(
                    training.spec,
                    Path(folder) / str(permutations),
                    every=steps // 10,
                    permutations=permutations,
                )
                for permutations in _PERMUTATIONS
            }

            def timed(permutations: int, work: Callable[[], object], costs: dict[int, float] = costs) -> None:
                started = time.process_time()
                work()
                costs[permutations] += time.process_time() - started

            model = training.model()
            started = time.process_time()
            for permutations, tracker in trackers.items():
                timed(permutations, partial(tracker.begin, model))
            for loss in training.losses(model, steps):
                for permutations, tracker in trackers.items():
                    timed(permutations, partial(tracker.step, model, loss=loss))
            bare = time.process_time() - started - sum(costs.values())
        for permutations, cost in costs.items():
            ratios[permutations].append(1 + cost / bare)
        print(f"bare training {bare:.1f} s, trackers {costs}", flush=True)
    for permutations, by_round in ratios.items():
        print(
            f"{permutations:,} permutations: {median(by_round):.3f} x the bare training ({min(by_round):.3f} to "
            f"{max(by_round):.3f})",
            flush=True,
        )


def main(seconds: float) -> None:
    """Print one line per case."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    training = Training()
    training.run(3, None)
    steps = max(20, int(20 * seconds / training.run(20, None)[0]))
    print(
        f"{steps} steps, {training.spec.max_words:,} words per measurement, median of {_ROUNDS} rounds",
        flush=True,
    )
    print_costs_of_tests(training, steps)
    for name, n_measurements, budget in _CASES:
        ratios, accounts, noise, stages, timelines = [], [], [], [], []
        for _ in range(_ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                every = max(1, steps // n_measurements) if n_measurements else 1
                tracker = Tracker(
                    training.spec,
                    Path(folder) / "run",
                    every=every,
                    budget=budget,
                    permutations=2_000,  # fewer than the default, as on the page that shows the results
                )
                # Trainings without a tracker before and after, because the speed of the machine varies.
                before, _ = training.run(steps, None)
                tracked, timeline = training.run(steps, tracker)
                after, _ = training.run(steps, None)
            ratios.append(2 * tracked / (before + after))
            accounts.append(1 + tracker.overhead_seconds / (tracked - tracker.overhead_seconds))
            noise.append(max(before, after) / min(before, after))
            stages.append(len(tracker.stages))
            timelines.append(timeline)
        print(
            f"{name}: {median(ratios):.3f} x the bare training ({min(ratios):.3f} to {max(ratios):.3f}), by its own "
            f"account {median(accounts):.3f} ({min(accounts):.3f} to {max(accounts):.3f}), bare against bare up to "
            f"{max(noise):.3f}; {median(stages):.0f} stages; the timeline {median(timelines):.1f} s beside "
            f"{before:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
