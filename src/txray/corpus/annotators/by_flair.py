"""Annotation by a Flair tagger."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import Any

from txray._optional import import_package
from txray.corpus.annotators.annotator import OUTSIDE, PipelineAnnotator, Sentences, as_label
from txray.corpus.document import Document
from txray.errors import UsageError
from txray.identity import derived
from txray.tensors import tensor_bytes


def flair(tagger: Any, name: str | None = None) -> FlairAnnotator:
    """Annotate words with what a Flair tagger predicts.

    The tagger receives the words of each sentence unchanged, some 2,000 at once, with their neighbours as context; a
    longer sentence is cut. Words without a label, or outside every span, get `O`; words inside a span get its label,
    without `B-` or `I-`. White space inside a label becomes `␣`. Words are cut to 1,000 characters. The tagger runs in
    evaluation mode; afterwards its mode is restored.

    Args:
        tagger: a model that labels tokens or spans of a sentence, e.g. `flair.models.SequenceTagger.load(...)`. Such
            files can run code when they are loaded: load only files that you trust.
        name: of the annotation; by default the tagger's `label_type`, e.g. `ner` or `pos`.

    Raises:
        UsageError: Flair is not installed, or this is not a tagger; while reading: the tagger changed the words.
    """
    return FlairAnnotator(tagger, name)


class FlairAnnotator(PipelineAnnotator):
    """Annotator that runs a Flair tagger; see `flair`.

    Attributes:
        name: of the annotation.
    """

    max_words = 2_000

    def __init__(self, tagger: Any, name: str | None = None) -> None:
        self._sentence = import_package("flair.data", "annotators.flair").Sentence
        if not (
            callable(getattr(tagger, "predict", None))
            and isinstance(getattr(tagger, "label_type", None), str)
        ):
            raise UsageError(
                f"annotators.flair: a {type(tagger).__name__}; give a loaded model, such as "
                "flair.models.SequenceTagger.load(...)"
            )
        self._tagger = tagger
        self.name: str = tagger.label_type if name is None else name

    def __repr__(self) -> str:
        return f"FlairAnnotator({type(self._tagger).__name__}, {self.name!r})"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the version of Flair and of the model: its structure, labels, and weights with their names."""
        model = self._tagger
        digest = sha256()
        for name, values in sorted(model.state_dict().items()):
            digest.update(name.encode("utf-8", "surrogatepass"))
            digest.update(tensor_bytes(values))
        labels = getattr(model, "label_dictionary", None)
        return derived(
            "flair",
            import_package("flair", "annotators.flair").__version__,
            model.label_type,
            str(model),
            None if labels is None else labels.get_items(),
            digest.hexdigest(),
        )

    def _annotate(self, document: Document, sentences: Sentences) -> list[str]:
        label_type = self._tagger.label_type
        tagged = list(map(self._sentence, sentences))
        training = self._tagger.training
        self._tagger.eval()
        try:
            self._tagger.predict(tagged, embedding_storage_mode="none")
        finally:
            self._tagger.train(training)
        if list(map(len, tagged)) != list(map(len, sentences)):
            raise UsageError(
                f"document {document.id!r}: {self!r} made {sum(map(len, tagged))} words of {sum(map(len, sentences))}; "
                "use a tagger that keeps them"
            )
        values: list[str] = []
        for sentence in tagged:
            labels = [as_label(token.get_label(label_type, OUTSIDE).value) for token in sentence]
            for span in sentence.get_spans(label_type):
                for token in span:
                    labels[token.idx - 1] = as_label(span.get_label(label_type).value)
            values += labels
        return values
