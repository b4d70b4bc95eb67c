"""Cost of a tracker: trainings with and without it, alternating, and whether budgets are kept.

python -m benchmarks.tracking [SECONDS]      of bare training, about; 60 by default
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import torch

import txray
from txray.models import language_model
from txray.tracking import CollectSpec, Tracker

_ROUNDS = 3
_CASES: tuple[tuple[str, int, float | None, int], ...] = (
    ("10,000 permutations", 10, None, 10_000),
    ("2,000 permutations", 10, None, 2_000),
    ("no tests", 10, None, 0),
    ("every step, budget 10%", 0, 0.10, 10_000),
    ("every step, budget 5%", 0, 0.05, 10_000),
)
"""Name, measurements between the first and the last (0: every step is due), budget, and permutations."""


class Training:
    """A language model of 300 units and batches of 20 x 35 words; every run is the same."""

    def __init__(self) -> None:
        self.text = txray.demo_corpus("encyclopedia", words=100_000)
        self.spec = CollectSpec(self.text, ["rnn"], ["token", "pos"], max_words=10_000)

    def run(self, steps: int, tracker: Tracker | None) -> tuple[float, float]:
        """Return the seconds of a training, and of the timeline after it.

        Processor time of this process, because wall-clock time depends on the other load of the machine.
        """
        model = language_model("lstm", self.text, embedding=300, hidden=300, seed=0).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        torch.manual_seed(0)
        started = time.process_time()
        if tracker is not None:
            tracker.begin(model)
        for _ in range(steps):
            ids = torch.randint(0, len(model.vocabulary), (20, 36))
            outputs, _ = model.hidden_states(ids[:, :-1], None)
            scores = model.decoder(model.dropout(outputs))
            loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if tracker is not None:
                tracker.step(model, loss=float(loss))
        if tracker is not None:
            tracker.measure(model, steps)
        trained = time.process_time()
        if tracker is not None:
            tracker.end(model)
        return trained - started, time.process_time() - trained


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
    results: dict[str, list[tuple[float, ...]]] = {name: [] for name, *_ in _CASES}
    bare = [training.run(steps, None)[0]]
    for _ in range(_ROUNDS):
        for name, n_measurements, budget, permutations in _CASES:
            with tempfile.TemporaryDirectory() as folder:
                tracker = Tracker(
                    training.spec,
                    Path(folder) / "run",
                    every=max(1, steps // n_measurements) if n_measurements else 1,
                    budget=budget,
                    permutations=permutations,
                )
                tracked, timeline = training.run(steps, tracker)
                bare.append(training.run(steps, None)[0])
            # Against the trainings without a tracker before and after, because the speed of the machine varies.
            around = (bare[-2] + bare[-1]) / 2
            account = 1 + tracker.overhead_seconds / (tracked - tracker.overhead_seconds)
            results[name].append((tracked / around, account, timeline / around, len(tracker.stages)))
    for name, rows in results.items():
        ratios, accounts, timelines, stages = zip(*rows, strict=True)
        print(
            f"{name}: {median(ratios):.3f} x the bare training ({min(ratios):.3f} to {max(ratios):.3f}), by its own "
            f"account {median(accounts):.3f} ({min(accounts):.3f} to {max(accounts):.3f}); {median(stages):.0f} "
            f"stages; the timeline {median(timelines):.3f} x the bare training"
        )
    print(f"bare training: {min(bare):.1f} to {max(bare):.1f} s")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
