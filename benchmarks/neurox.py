"""NeuroX's own extraction against txray's collection: same model, same sentences, one process.

    python -m benchmarks.neurox [WORDS]

NeuroX (`pip install --no-deps neurox`, with h5py and tqdm) writes the hidden states of all layers to an HDF5 file,
sentence by sentence, and has counted nothing yet when it ends. txray collects the same layers from the same sentences,
and saves the stage. Times are of the processor, on one thread. Without NeuroX, the selections of txray are compared.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import torch

from benchmarks import models, texts
from benchmarks.extraction import sentences
from txray import Corpus, Document, collect

LAYERS = ("embeddings", "encoder.layer.*")
SELECTIONS = ("max-1", "threshold=1.5/zscore", "all/zscore")
WORDS = 12_000
BATCH_POSITIONS = 1_024
"""Small batches stay in the cache of a processor: 4,096 positions take a tenth longer, 16,384 two fifths."""


def sentence_documents(words: int) -> list[Document]:
    """Return each sentence as a document of the words that it has when it is split at spaces."""
    return [
        Document(f"s{number}", tuple(sentence))
        for number, sentence in enumerate(sentences(texts.documents(words)))
    ]


def neurox_extraction(documents: Sequence[Document], folder: Path) -> Callable[[], None] | None:
    """Return a function that extracts these sentences with NeuroX, or None if it is not installed."""
    if importlib.util.find_spec("neurox") is None:
        return None
    from neurox.data.extraction.transformers_extractor import extract_representations

    text = folder / "sentences.txt"
    text.write_text("".join(" ".join(document.words) + "\n" for document in documents), encoding="utf-8")

    def extract() -> None:
        # It prints every sentence several times; not to a terminal, which would slow it down.
        with contextlib.redirect_stdout(io.StringIO()):
            extract_representations(
                str(models.pretrained_folder()), str(text), str(folder / "states.hdf5"), output_type="hdf5"
            )

    return extract


def measured(words: int, rounds: int = 3) -> Iterator[tuple[str, str]]:
    """Yield what was compared, and the speed of txray as a multiple."""
    documents = sentence_documents(words)
    corpus = Corpus.from_documents("sentences", documents)
    n_words = sum(len(document.words) for document in documents)
    model = models.pretrained()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def collecting(selection: str) -> Callable[[], None]:
            def work() -> None:
                stage = collect(
                    model,
                    corpus,
                    layers=LAYERS,
                    name="s",
                    selection=selection,
                    batch_positions=BATCH_POSITIONS,
                )
                stage.save(folder / selection.replace("/", "-"))

            return work

        def size(path: Path) -> int:
            return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))

        extract = neurox_extraction(documents, folder)
        if extract is None:
            print("NeuroX is not installed: pip install --no-deps neurox", file=sys.stderr)
        works = {selection: collecting(selection) for selection in SELECTIONS}
        baseline = extract or works[SELECTIONS[0]]
        seconds: dict[str, list[float]] = {selection: [] for selection in SELECTIONS}
        theirs: list[float] = []
        for number in range(rounds + 1):
            spent = cpu_seconds(baseline)
            spent_on = {selection: cpu_seconds(work) for selection, work in works.items()}
            if number:  # the first round warms up
                theirs.append(spent)
                for selection, value in spent_on.items():
                    seconds[selection].append(value)
        for selection, ours in seconds.items():
            ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
            of = "NeuroX" if extract else f"`{SELECTIONS[0]}`"
            stored = size(folder / selection.replace("/", "-")) / n_words
            file = f" against {size(folder / 'states.hdf5') / n_words:,.0f}" if extract else ""
            yield (
                f"`{selection}`, {n_words:,} words in {len(documents):,} sentences",
                f"{median(ratios):.1f} x {of} ({min(ratios):.1f} to {max(ratios):.1f}); "
                f"{n_words / median(ours):,.0f} words/s against {n_words / median(theirs):,.0f}; "
                f"{stored:,.0f} bytes stored per word{file}",
            )


def cpu_seconds(work: Callable[[], None]) -> float:
    """Return the processor time of the only thread, because other programs may share the machine."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main(words: Sequence[str]) -> None:
    """Print one line per selection."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for what, result in measured(int(words[0]) if words else WORDS):
        print(f"{what}: {result}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
