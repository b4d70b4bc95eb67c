"""Prune models of Hugging Face with a promise, and compare the smaller ones, loaded by plain transformers.

    python -m benchmarks.pruned MINILM GPT2 --text imdb=FOLDER --documents 600

For each folder: advice on the MLP neurons, the exported model, and its size, speed and score beside the original's, on
documents that neither chose nor verified.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import txray
from txray import Corpus
from txray.models import TextModel, hugging_face
from txray.pruning import Evaluator, advise, evaluator, export_model
from txray.pruning.ablation_values import BatchKeys
from txray.pruning.bootstrap import Bootstrap, percentile_interval

_REPETITIONS = 7


def read(text: str, split: str) -> Corpus:
    """Return a split of a text named as `format=path`; the embedded reviews by default."""
    text_format, _, path = text.partition("=")
    return txray.demo_corpus("reviews", words=None, split=split) if not path else txray.read_corpus(
        text_format, path, split=split
    )  # fmt: skip


def scores(text: Evaluator) -> tuple[dict[str, str], Any, Bootstrap]:
    """Return the metrics of a model with 95% intervals over documents, its predictions, and the resampled documents."""
    predictions = text.predict(BatchKeys(), lambda amount: None)
    bootstrap = Bootstrap.of(predictions, text.inputs.documents_digest, 1_000, text.inputs.groups)
    metrics = bootstrap.metrics(predictions)
    shown = {}
    for name, value in metrics.observed.items():
        low, high = percentile_interval((metrics.resampled or {})[name])
        shown[name] = f"{value:.4f} ({low:.4f} to {high:.4f})"
    return shown, predictions, bootstrap


def speed_ratio(before: Callable[[], object], after: Callable[[], object]) -> tuple[float, float, float]:
    """Return the median time of one pass of each, alternating in one process, and the median of their ratios."""
    times = []
    for repetition in range(_REPETITIONS + 1):
        pair = []
        for run in (before, after):
            start = time.perf_counter()
            run()
            pair.append(time.perf_counter() - start)
        if repetition:  # the first pass warms up
            times.append(pair)
    first, second = (statistics.median(pair[i] for pair in times) for i in (0, 1))
    return first, second, statistics.median(pair[0] / pair[1] for pair in times)


def plain(folder: Path, task: str) -> Any:
    """Load a folder with transformers alone."""
    import transformers

    auto = (
        transformers.AutoModelForSequenceClassification
        if task == "classification"
        else transformers.AutoModelForCausalLM
    )
    module, loading = auto.from_pretrained(folder, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), loading
    return module.eval()


def measure(
    folder: Path,
    text: str,
    documents: int,
    length: int,
    lose_at_most: float,
    out: Path,
    options: dict[str, Any],
) -> None:
    """Prune one model and print what that does."""
    print(f"\n{folder}", flush=True)
    model = hugging_face(folder, head=True, **options)
    assert isinstance(model, TextModel)
    source = {"choose": read(text, "train"), "verify": read(text, "test")}
    # A third of the test documents is left for the comparison of the exported model.
    verify = source["verify"].select(lambda document: document.fold_key % 3 != 0, name="verify")
    rest = source["verify"].select(lambda document: document.fold_key % 3 == 0, name="rest")
    start = time.perf_counter()
    advice = advise(
        model,
        {"choose": source["choose"], "verify": verify},
        lose_at_most=lose_at_most,
        max_documents=documents,
        max_length=length,
    )
    print(f"advice in {time.perf_counter() - start:.0f} s: {advice.sentence}")
    for row in advice.steps.iter_rows(named=True):
        print("  test", json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}))
    if not advice.masks():
        return
    advice.save(out / "advice")
    report = export_model(folder, advice.masks(), out / "smaller")
    print(report)
    before, after = plain(folder, model.task), plain(out / "smaller", model.task)
    size = next(before.parameters()).shape[0]
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, size, (8, length)))
    with torch.inference_mode():
        first, second, ratio = speed_ratio(lambda: before(ids), lambda: after(ids))
    print(f"one batch of 8 x {length}: {1e3 * first:.0f} -> {1e3 * second:.0f} ms, {ratio:.2f} times as fast")
    smaller = hugging_face(out / "smaller", head=True, **options)
    texts = [evaluator(one, rest, max_documents=documents, max_length=length) for one in (model, smaller)]
    (shown, whole, bootstrap), (shown_after, pruned, _) = map(scores, texts)
    print(f"on {texts[0].inputs.n_documents} further documents:")
    before_metrics, after_metrics = bootstrap.metrics(whole), bootstrap.metrics(pruned)
    for name, value in shown.items():
        samples = (after_metrics.resampled or {})[name] - (before_metrics.resampled or {})[name]
        low, high = percentile_interval(samples)
        change = after_metrics.observed[name] - before_metrics.observed[name]
        print(f"  {name}: {value} -> {shown_after[name]}; change {change:+.4f} ({low:+.4f} to {high:+.4f})")


def main() -> None:
    """Measure each folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument(
        "--text", default="demo", help="format=path, such as imdb=FOLDER; the embedded reviews by default"
    )
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--length", type=int, default=128, help="words per document")
    parser.add_argument("--lose-at-most", type=float, default=1.0)
    parser.add_argument("--classes", default="neg,pos")
    parser.add_argument("--out", type=Path, required=True, help="new folder for advice and smaller models")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for folder in args.folders:
        architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
        classifies = architecture.endswith("SequenceClassification")
        options = {"classes": args.classes.split(",")} if classifies else {}
        measure(
            folder, args.text, args.documents, args.length, args.lose_at_most, args.out / folder.name, options
        )


if __name__ == "__main__":
    main()
