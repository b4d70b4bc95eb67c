"""Fine-tune all-MiniLM-L6 for sentiment, once per seed; each classifier becomes a folder that transformers loads.

The seed determines the reviews, their order, the new head and dropout. Test reviews are never read here.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.finetuning.reviews import Reviews, reviews
from benchmarks.models import pretrained_folder

LENGTH = 160  # word pieces per review; the rest is cut off
BATCH = 16
RATE = 5e-5
WARMUP = 0.1  # of all steps


def train(seed: int, folder: Path, *, number: int) -> None:
    """Train one classifier on `number` reviews, one epoch, and save it with its tokenizer."""
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    training = reviews("train").sample(number, order)
    tokenizer = AutoTokenizer.from_pretrained(pretrained_folder())
    model = AutoModelForSequenceClassification.from_pretrained(
        pretrained_folder(), num_labels=2, id2label={0: "neg", 1: "pos"}, label2id={"neg": 0, "pos": 1}
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    starts = range(0, number, BATCH)
    warmup = max(1, round(WARMUP * len(starts)))
    began, losses = time.monotonic(), []
    for step, start in enumerate(starts):
        for group in optimizer.param_groups:  # linear warm-up, then linear decay
            group["lr"] = RATE * min((step + 1) / warmup, (len(starts) - step) / (len(starts) - warmup))
        batch = training.rows(start, start + BATCH)
        encoded = tokenizer(
            batch.texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt"
        )
        loss = model(**encoded, labels=torch.tensor(batch.labels)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 20 == 19:
            print(
                f"seed {seed}: step {step + 1} of {len(starts)}, loss {np.mean(losses[-20:]):.3f}", flush=True
            )
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {"seed": seed, "reviews": number, "length": LENGTH, "batch": BATCH, "rate": RATE, "epochs": 1}
    result = {
        **settings,
        "accuracy": accuracy(folder, reviews("test").sample(1_000, np.random.default_rng(99))),
    }
    result["seconds"] = round(time.monotonic() - began)
    (folder / "training.json").write_text(json.dumps(result, indent=2))
    print(result, flush=True)


@torch.inference_mode()
def accuracy(folder: Path, held_out: Reviews) -> float:
    """Return the share of held-out reviews that the classifier labels correctly."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    correct = 0
    for start in range(0, len(held_out), 32):
        batch = held_out.rows(start, start + 32)
        encoded = tokenizer(
            batch.texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt"
        )
        correct += int((model(**encoded).logits.argmax(1) == torch.tensor(batch.labels)).sum())
    return correct / len(held_out)


def main() -> None:
    """Train the classifiers that are missing in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--reviews", type=int, default=3_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for seed in arguments.seeds:
        folder = arguments.folder / f"seed-{seed}"
        if not (folder / "training.json").exists():
            train(seed, folder, number=arguments.reviews)


if __name__ == "__main__":
    main()
