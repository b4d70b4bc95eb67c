"""Train a GPT-2 of four small blocks on WikiText-2, as a folder that transformers loads: something real to prune.

`python -m benchmarks.finetuning.tiny_gpt2 FOLDER`; TXRAY_DATA names the folder with `wikitext-2`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from txray.corpus import read_corpus

VOCABULARY, LENGTH, BATCH, STEPS, RATE = 4_000, 128, 16, 800, 1e-3
END = "<|endoftext|>"


def main(folder: Path) -> None:
    """Train the tokenizer and the model, and save both."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    articles = read_corpus("wikitext", Path(os.environ["TXRAY_DATA"]) / "wikitext-2", split="train")
    texts = [" ".join(document.words) for document in articles.take_words(600_000)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END, model_max_length=LENGTH
    )
    ids = np.concatenate([fast(text + END)["input_ids"] for text in texts])
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(fast),
            n_positions=LENGTH,
            n_embd=128,
            n_layer=4,
            n_head=4,
            bos_token_id=fast.bos_token_id,
            eos_token_id=fast.eos_token_id,
        )
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    generator, losses = np.random.default_rng(0), []
    for step in range(STEPS):
        for group in optimizer.param_groups:  # linear decay
            group["lr"] = RATE * (1 - step / STEPS)
        starts = generator.integers(0, len(ids) - LENGTH, BATCH)
        batch = torch.from_numpy(np.stack([ids[start : start + LENGTH] for start in starts]))
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1} of {STEPS}, loss {np.mean(losses[-50:]):.3f}", flush=True)
    model.eval().save_pretrained(folder)
    fast.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
