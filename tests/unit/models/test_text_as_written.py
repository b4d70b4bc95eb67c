"""Texts as tokenizers read them by themselves, the words of a document found in them character by character."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.written import KINDS, TEXTS, as_written, documents, shares, tokenizers_of, untouched
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as piece_models
from transformers import (
    BertJapaneseTokenizer,
    ByT5Tokenizer,
    CanineConfig,
    CanineModel,
    CanineTokenizer,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from txray import Corpus, Document, TextModel, collect
from txray.errors import UsageError
from txray.models import Pieces, from_transformers
from txray.models.piece_alignment import is_covered, words_of_pieces
from txray.models.pieces import PieceEncoder
from txray.preferences import merge_stages

REVIEW = Document(
    "review",
    ("I", "do", "n't", "like", "it", "(", "at", "all", ")", "…", "Zebra", "<s>", "中", "\U0001f600", "end"),
    spacing=("  ", " ", "", " ", " ", "\t", "", " ", "", "", "\n\n", " ", " ", "", " "),
)
JOINED = Document("joined", REVIEW.words)


@pytest.fixture(scope="module")
def kinds() -> dict[str, Any]:
    texts = [document.text for language in TEXTS for document in documents(language)]
    return tokenizers_of([*texts, "I do like it at all, to the end"] * 3, 700)


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_has_the_pieces_of_the_untouched_text(kind: str, kinds: dict[str, Any]) -> None:
    for language in TEXTS:
        assert shares(kinds[kind], documents(language))[0] == 1, language
    for document in (REVIEW, JOINED):
        assert as_written(kinds[kind], document) == untouched(kinds[kind], document)


def test_joined_by_spaces_many_words_have_other_pieces(kinds: dict[str, Any]) -> None:
    for kind in ("byte-level BPE", "BPE, Llama style"):
        assert shares(kinds[kind], documents("Chinese"))[1] < 0.1
        assert shares(kinds[kind], documents("English"))[1] < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_are_those_of_the_text_and_words_add_up(kind: str, kinds: dict[str, Any]) -> None:
    tokenizer = kinds[kind]
    for document in (*documents("Japanese"), *documents("French")):
        pieces = PieceEncoder(tokenizer)(document)
        assert list(pieces.ids) == tokenizer(document.text, add_special_tokens=False)["input_ids"]
        with_pieces = {word for word in pieces.word if word >= 0}
        assert len(with_pieces) + pieces.shared <= len(document.words)
        assert pieces.read_as == "as written"
    assert PieceEncoder(tokenizer)(JOINED).read_as == "words joined by spaces"


def words_apart(vocabulary: list[str], **options: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(
        piece_models.WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **options)


def test_a_piece_of_several_words_belongs_to_the_longest_and_the_first_of_equals() -> None:
    tokenizer = words_apart(["<unk>", "don't", "ab", "cdefg,"])
    document = Document(
        "d", ("do", "n't", "a", "b", "cdefg", ",", "zz", "y"), spacing=("", "", " ", "", " ", "", " ", "")
    )
    pieces = PieceEncoder(tokenizer)(document)
    assert (list(pieces.ids), list(pieces.word)) == ([1, 2, 3, 0], [1, 2, 4, -1])
    # "do", "b" and "," share a piece; of "zz" and "y" the tokenizer knows none.
    assert pieces.shared == 3
    model = TextModel(
        torch.nn.Sequential(torch.nn.Embedding(4, 3)),
        PieceEncoder(tokenizer),
        encodes="document",
        max_length=4,
    )
    manifest = collect(
        model, Corpus.from_documents("c", [document]), layers="0", selection="all/absolute", name="s"
    ).manifest
    account = next(iter(manifest["layers"].values()))
    assert account["counted"] == 3
    assert account["skipped"] == {"shares its piece with another word": 3, "unknown to the tokenizer": 2}


def test_words_of_pieces_are_those_of_a_count_of_characters() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        edges = np.sort(rng.integers(0, 30, 2 * rng.integers(1, 7)))
        words = edges.reshape(-1, 2)
        begin = np.sort(rng.integers(0, 30, rng.integers(1, 9)))
        pieces = np.stack((begin, begin + rng.integers(0, 9, len(begin))), axis=1)
        pieces[:, 1] = np.maximum.accumulate(pieces[:, 1])
        highest, expected = -1, []
        covered = set()
        for first, last in pieces.tolist():
            votes = Counter(
                number
                for number, (start, end) in enumerate(words.tolist())
                for at in range(start, end)
                if first <= at < last
            )
            covered |= set(votes)
            word = min(votes, key=lambda number: (-votes[number], number)) if votes else -1
            highest = max(highest, word)
            expected.append(-1 if word < 0 else highest)
        assert words_of_pieces(pieces, words).tolist() == expected
        assert set(np.flatnonzero(is_covered(pieces, words)).tolist()) == covered


def pairs(preferences: Any) -> dict[tuple[int, str], tuple[int, float]]:
    totals = preferences.totals
    names = preferences.features[totals.feature_id].tolist()
    keys = zip(totals.neuron.tolist(), names, strict=True)
    return dict(zip(keys, zip(totals.count.tolist(), totals.sum.tolist(), strict=True), strict=True))


def strongest(rows: Any, owners: list[list[int]], words: tuple[str, ...]) -> dict[Any, Any]:
    """The strongest neuron of each word, at the maximum of its pieces."""
    sums: dict[Any, list[float]] = defaultdict(list)
    for steps, word in zip(owners, words, strict=True):
        if steps:
            value = rows[steps].max(axis=0)
            if value.max() > 0:
                sums[int(value.argmax()), word.lower()].append(float(value.max()))
    return {key: (len(values), pytest.approx(sum(values), rel=1e-4)) for key, values in sums.items()}


def test_bytes_and_characters_are_read_by_construction() -> None:
    torch.manual_seed(2)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    canine = CanineModel(CanineConfig(**small, max_position_embeddings=256, num_hash_buckets=64)).eval()
    byt5 = T5EncoderModel(
        T5Config(vocab_size=384, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2)
    ).eval()
    text, bounds = REVIEW.text, REVIEW.offsets.tolist()
    characters = [[0xE000, *map(ord, text), 0xE001], [[*range(b + 1, e + 1)] for b, e in bounds]]
    in_bytes = [len(text[:at].encode()) for at in range(len(text) + 1)]
    raw = [
        [*(byte + 3 for byte in text.encode()), 1],
        [[*range(in_bytes[b], in_bytes[e])] for b, e in bounds],
    ]
    for module, tokenizer, layer, (ids, owners) in (
        (canine, CanineTokenizer(), "initial_char_encoder.layer.0.intermediate", characters),
        (byt5, ByT5Tokenizer(), "encoder.block.0.layer.1.DenseReluDense.wi", raw),
    ):
        outputs: list[Any] = []
        hook = module.get_submodule(layer).register_forward_hook(lambda *out, to=outputs: to.append(out[2]))
        with torch.no_grad():
            module(input_ids=torch.tensor([ids]))
        hook.remove()
        stage = collect(
            from_transformers(module, tokenizer),
            Corpus.from_documents("c", [REVIEW]),
            layers=layer,
            name="s",
        )
        expected = strongest(outputs[0][0].numpy(), owners, REVIEW.words)
        assert pairs(stage.preferences()) == expected
        assert stage.manifest["text"] == {"as written": 1}


class SlowWords(CanineTokenizer):
    """A slow tokenizer of halves of words."""

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return [part for word in text.split() for part in (word[:2], word[2:]) if part]

    def _convert_token_to_id(self, token: str) -> int:
        return 10 + sum(map(ord, token)) % 50


def test_other_slow_tokenizers_read_word_by_word_or_are_refused() -> None:
    document = Document("d", ("many", "words", "."), spacing=("", " ", ""))
    pieces = PieceEncoder(SlowWords())(document)
    assert list(pieces.word) == [0, 0, 1, 1, 2]
    assert list(pieces.texts) == ["ma", "ny", "wo", "rds", "."]
    assert pieces.read_as == "word by word"


def gpt2(tokenizer: Any) -> TextModel:
    torch.manual_seed(4)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=12, n_layer=1, n_head=2, n_positions=16)
    return from_transformers(GPT2Model(config).eval(), tokenizer)


def test_white_space_is_read_and_belongs_to_no_word(kinds: dict[str, Any]) -> None:
    tokenizer = kinds["byte-level BPE"]
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    model = gpt2(tokenizer)
    document = Document("d", ("the", "end"), spacing=("\n\n", "\n\n\n"))
    ids = tokenizer(document.text)["input_ids"]
    text = document.text
    names = [tokenizer.decode([number]) for number in ids]
    assert "".join(names) == text
    assert names[0].isspace()
    owners: list[list[int]] = [[], []]
    at = 0
    for step, name in enumerate(names):
        if not name.isspace():
            owners[0 if at < 5 else 1].append(step)
        at += len(name)
    outputs: list[Any] = []
    hook = model.module.get_submodule("h.0.mlp.act").register_forward_hook(
        lambda *out: outputs.append(out[2])
    )
    with torch.no_grad():
        model.module(torch.tensor([ids]))
    hook.remove()
    stage = collect(model, Corpus.from_documents("c", [document]), layers="h.0.mlp.act", name="s")
    assert pairs(stage.preferences()) == strongest(outputs[0][0].numpy(), owners, document.words)


def test_a_hundred_blank_lines_fit_into_no_window_and_lose_no_word(kinds: dict[str, Any]) -> None:
    model = gpt2(kinds["byte-level BPE"])
    spacing = ("\n" * 100, " ", "\n" * 50, "")
    document = Document("d", ("the", "good", "end", "."), spacing=spacing)
    stage = collect(
        model,
        Corpus.from_documents("c", [document]),
        layers="h.0.mlp.act",
        selection="all/absolute",
        name="s",
    )
    counts = dict(zip(stage.preferences().features, stage.preferences().feature_counts(), strict=True))
    assert counts == {"the": 1, "good": 1, "end": 1, ".": 1}


def test_the_manifest_counts_how_texts_were_read_and_merges_it(kinds: dict[str, Any]) -> None:
    model = gpt2(kinds["byte-level BPE"])
    corpus = Corpus.from_documents("c", [REVIEW, JOINED, Document("c", ("the",), spacing=("",))])
    whole = collect(model, corpus, layers="h.0.mlp.act", name="s")
    assert whole.manifest["text"] == {"as written": 2, "words joined by spaces": 1}
    parts = [collect(model, corpus.shard(n, 2), layers="h.0.mlp.act", name=f"p{n}") for n in (1, 2)]
    assert merge_stages(parts).manifest["text"] == whole.manifest["text"]


def test_a_function_of_words_still_receives_words_and_one_of_documents_the_document() -> None:
    received: list[Any] = []

    def encode(text: Any) -> Pieces:
        received.append(text)
        return Pieces([1], [0])

    module = torch.nn.Embedding(3, 2)
    TextModel(module, encode).pieces(REVIEW)
    TextModel(module, encode, encodes="document").pieces(REVIEW)
    TextModel(module, encode, encodes="document").pieces(["a", "b"])
    assert received[:2] == [REVIEW.words, REVIEW]
    assert received[2].text == "a b"


def test_the_tokenizer_of_the_user_may_truncate_and_pad_elsewhere(kinds: dict[str, Any]) -> None:
    tokenizer = kinds["WordPiece"]
    tokenizer.pad_token = "<unk>"
    tokenizer(["the film", "the"], truncation=True, max_length=2, padding="max_length")
    ids = PieceEncoder(tokenizer)(documents("English")[0]).ids
    assert list(ids) == tokenizer(documents("English")[0].text, add_special_tokens=False)["input_ids"]
    assert len(ids) > 2
    # Its settings for special tokens are not those of another use.
    tokenizer("the")
    ids = PieceEncoder(tokenizer)(Document("d", ("<s>", "the"))).ids
    assert list(ids) == tokenizer("<s> the", add_special_tokens=False, split_special_tokens=True)["input_ids"]


def test_the_mark_of_a_space_belongs_to_no_word(kinds: dict[str, Any]) -> None:
    pieces = PieceEncoder(kinds["BPE, Llama style"])(
        Document("d", ("中", "中", "\u2581"), spacing=("", " ", ""))
    )
    owners = list(zip(pieces.texts, list(pieces.word), strict=True))
    assert owners[0] == ("\u2581", -1)
    assert owners[-1] == ("\u2581", 2)
    assert {word for name, word in owners if name != "\u2581"} == {0, 1}


def test_a_slow_tokenizer_that_cannot_read_is_refused_in_one_line(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\na\n", encoding="utf-8")
    tokenizer = BertJapaneseTokenizer(
        str(vocabulary), word_tokenizer_type="basic", subword_tokenizer_type="wordpiece"
    )
    tokenizer.word_tokenizer = None
    with pytest.raises(UsageError, match="BertJapaneseTokenizer") as caught:
        from_transformers(T5EncoderModel(T5Config(vocab_size=20, d_model=8, num_layers=1)), tokenizer)
    assert "\n" not in str(caught.value)
