"""Share of words that tokenizers cut into the same pieces as in the untouched text, and what the cutting costs.

`python -m benchmarks.written [IMDB.csv.gz]` prints the tables of docs/models.md. The tokenizers are trained on the
texts.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import ByT5Tokenizer, CanineTokenizer, PreTrainedTokenizerFast

from benchmarks.timing import ratio
from txray import Document, read_corpus
from txray.models.pieces import PieceEncoder

TEXTS = {
    "English": [
        "I |didn|'t| want| to| like| it|,| but| the| film|'s| ending| (|all| 20| minutes| of| it|)| won| me| over|!",
        "“|Well|,| well|,|”| she| said| -|-| half|-|laughing|.|\n|Nobody|'d| believed| her|;| why| should| they|?",
    ],
    "German": [
        "Gestern| haben| wir| den| neuen| Film| gesehen|,| der| uns| überrascht| hat|:| „|Großartig|“|,| rief| Jörg|.",
        "Die| Straßenbahn|-|Haltestelle| (|Linie| 7|)| liegt| 3|,|5| km| entfernt|;| das| weiß| hier| jeder|!",
    ],
    "French": [
        "L'|été| dernier|,| j'|ai| vu| ce| film| à| l'|étranger|\xa0|:| «|\xa0|c'|était| beau|\xa0|»|,| dit|-|elle|.",
        "Aujourd'hui|,| qu'|en| reste|-|t|-|il|\u202f|?| Rien| qu'|une| mélodie|,| peut|-|être|\u202f|!",
    ],
    "Russian": [
        "Вчера| мы| смотрели| новый| фильм|:| «|Очень| хорошо|»|,| —| сказал| он|.| Кто|-|то| засмеялся|.",
        "В| 1998| году| (|летом|)| всё| было| иначе|;| по|-|моему|,| никто| этого| не| помнит|…",
    ],
    "Chinese": [
        "昨天|我们|看|了|一部|新|电影|，|结局|很|意外|。|“|真|好|！|”|她|笑|着|说|。",
        "2019年|夏天|，|他|在|北京|学|中文|；|老师|常|说|：|“|慢慢|来|，|别|急|。|”",
    ],
    "Japanese": [
        "昨日|、|私たち|は|新しい|映画|を|見|まし|た|。|「|とても|よかっ|た|」|と|彼女|は|笑っ|た|。",
        "東京|タワー|の|近く|で|、|コーヒー|を|３|杯|も|飲ん|だ|。|なぜ|だろ|う|？",
    ],
    "Arabic": [
        "شاهدنا| أمس| فيلما| جديدا|،| وكانت| النهاية| مفاجئة| جدا|.| «|رائع|!|»| قالت| ضاحكة|.",
        "في| صيف| عام| 2019| (|تقريبا|)| درس| اللغة| في| القاهرة|؛| هل| يتذكر| أحد|؟",
    ],
    "Hindi": [
        "कल| हमने| एक| नई| फ़िल्म| देखी|,| और| उसका| अंत| बहुत| अच्छा| था|।| “|वाह|!|”| उसने| कहा|।",
        "2019| की| गर्मियों| में| वह| दिल्ली| में| हिन्दी| सीख| रहा| था|;| किसे| याद| है|?",
    ],
}
"""Language -> texts. `|` stands between words, and is followed by the white space before the next word."""

KINDS = ("WordPiece", "byte-level BPE", "unigram, metaspace", "BPE, Llama style", "bytes", "characters")
_SPECIAL = ["<unk>", "<s>", "</s>"]


def documents(language: str) -> list[Document]:
    """Return the texts of a language; white space alone between two `|` belongs to the word after it."""
    return [_document(f"{language}/{number}", text) for number, text in enumerate(TEXTS[language])]


def _document(name: str, text: str) -> Document:
    words: list[str] = []
    spacing: list[str] = []
    gap = ""
    for part in text.split("|"):
        word = part.strip()
        gap += part[: len(part) - len(part.lstrip())]
        if word:
            words.append(word)
            spacing.append(gap)
            gap = part[len(part.rstrip()) :]
    return Document(name, tuple(words), spacing=tuple(spacing))


def tokenizers_of(texts: Sequence[str], size: int = 1_000) -> dict[str, Any]:
    """Return a tokenizer of each kind, those with a vocabulary trained on texts."""
    wordpiece = Tokenizer(models.WordPiece(unk_token="<unk>"))
    wordpiece.normalizer = normalizers.BertNormalizer()
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    llama = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    trained = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama.pre_tokenizer = (
        pre_tokenizers.Metaspace()
    )  # for the training only, which would join words otherwise
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_names = [f"<0x{byte:02X}>" for byte in range(256)]
    for tokenizer, trainer in (
        (wordpiece, trainers.WordPieceTrainer(vocab_size=size, special_tokens=_SPECIAL)),
        (
            byte_level,
            trainers.BpeTrainer(vocab_size=size, special_tokens=_SPECIAL, initial_alphabet=alphabet),
        ),
        (unigram, trainers.UnigramTrainer(vocab_size=size, special_tokens=_SPECIAL, unk_token="<unk>")),
        (llama, trainers.BpeTrainer(vocab_size=size + 256, special_tokens=[*_SPECIAL, *byte_names])),
    ):
        tokenizer.train_from_iterator(texts, trainer)
    llama.normalizer, llama.pre_tokenizer = trained, None
    fast = [
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token=unknown
        )
        for tokenizer, unknown in (
            (wordpiece, "<unk>"),
            (byte_level, None),
            (unigram, "<unk>"),
            (llama, "<unk>"),
        )
    ]
    return dict(zip(KINDS, [*fast, ByT5Tokenizer(), CanineTokenizer()], strict=True))


def untouched(tokenizer: Any, document: Document) -> list[tuple[int, ...]]:
    """Return the ids of each word in the text that the tokenizer reads by itself, character by character.

    A piece belongs to the word with most of its characters; white space, special pieces and pieces that the tokenizer
    does not know belong to none.
    """
    text = document.text
    word_at: dict[int, int] = {}
    for number, (begin, end) in enumerate(document.offsets.tolist()):
        word_at.update(dict.fromkeys(range(begin, end), number))
    if tokenizer.is_fast:
        encoded = tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        pieces = list(zip(encoded["input_ids"], encoded["offset_mapping"], encoded.tokens(), strict=True))
    else:
        ids_of_letter = {
            letter: tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in set(text)
        }
        per_character = [ids_of_letter[letter] for letter in text]
        assert list(chain(*per_character)) == tokenizer(text, add_special_tokens=False)["input_ids"]
        pieces = [(number, (at, at + 1), "") for at, ids in enumerate(per_character) for number in ids]
    ids_of: list[list[int]] = [[] for _ in document.words]
    for number, (begin, end), name in pieces:
        votes = Counter(word_at[at] for at in range(begin, end) if at in word_at)
        if votes and number not in (tokenizer.unk_token_id, *tokenizer.all_special_ids) and name != "▁":
            ids_of[min(votes, key=lambda word: (-votes[word], word))].append(number)
    return [tuple(ids) for ids in ids_of]


def as_written(tokenizer: Any, document: Document) -> list[tuple[int, ...]]:
    """Return the ids of each word as txray reads it."""
    pieces = PieceEncoder(tokenizer)(document)
    return _by_word(tokenizer, pieces.ids, pieces.word, document)


def joined(tokenizer: Any, document: Document) -> list[tuple[int, ...]]:
    """Return the ids of each word where models read the words alone, joined by spaces."""
    if not tokenizer.is_fast:
        return as_written(tokenizer, Document(document.id, document.words))
    encoded = word_by_word(tokenizer, document.words)
    return _by_word(tokenizer, encoded["input_ids"], encoded.word_ids(), document)


def word_by_word(tokenizer: Any, words: Sequence[str]) -> Any:
    """Return the encoding of words, those after the first with a space if they need it, as models read them before."""
    byte_level = isinstance(tokenizer.backend_tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)
    spaced = [words[0], *(f" {word}" for word in words[1:])] if byte_level else list(words)
    if byte_level:
        tokenizer.add_prefix_space = True  # only asked for, not used: the spaces are in the words
    return tokenizer(
        spaced,
        is_split_into_words=True,
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )


def _by_word(
    tokenizer: Any, ids: Sequence[int], words: Sequence[int], document: Document
) -> list[tuple[int, ...]]:
    space = tokenizer.convert_tokens_to_ids("▁") if tokenizer.is_fast else None
    ids_of: list[list[int]] = [[] for _ in document.words]
    for number, word in zip(ids, words, strict=True):
        if word >= 0 and number not in (tokenizer.unk_token_id, space):
            ids_of[word].append(number)
    return [tuple(ids) for ids in ids_of]


def shares(tokenizer: Any, texts: Sequence[Document]) -> tuple[float, float]:
    """Return the shares of words, 0 to 1, with the pieces of the untouched text: as written, and joined by spaces."""
    equal = [0, 0]
    for document in texts:
        expected = untouched(tokenizer, document)
        for number, read in enumerate((as_written, joined)):
            equal[number] += sum(
                ids == word for ids, word in zip(read(tokenizer, document), expected, strict=True)
            )
    n_words = sum(len(document.words) for document in texts)
    return equal[0] / n_words, equal[1] / n_words


def costs(kinds: dict[str, Any], texts: Sequence[Document]) -> Iterator[tuple[str, float, float, float]]:
    """Yield the kind, microseconds per word as written and joined, and their ratio, of tokenizers that are fast."""
    n_words = sum(len(document.words) for document in texts)
    for kind, tokenizer in kinds.items():
        if not tokenizer.is_fast:
            continue
        encode = PieceEncoder(tokenizer)
        special = frozenset(tokenizer.all_special_ids)
        times = ratio(
            lambda: [encode(document) for document in texts],  # noqa: B023
            lambda: [_formerly(tokenizer, document.words, special) for document in texts],  # noqa: B023
            rounds=9,
        )
        yield kind, times.first / n_words * 1e6, times.second / n_words * 1e6, times.value
        gc.collect()


def _formerly(tokenizer: Any, words: Sequence[str], special: frozenset[int]) -> object:
    encoded = word_by_word(tokenizer, words)
    ids, word, texts = encoded["input_ids"], encoded.word_ids(), encoded.tokens()
    return ids, word, texts, tokenizer.unk_token_id in ids, not special.isdisjoint(ids)


def main(reviews: str | None) -> None:
    """Print the tables."""
    corpora = {language: documents(language) for language in TEXTS}
    if reviews is not None:
        corpora = {"English reviews": list(read_corpus("imdb", reviews).head(500)), **corpora}
    kinds = tokenizers_of([document.text for texts in corpora.values() for document in texts], 8_000)
    print(f"| text | words | {' | '.join(KINDS)} |\n| --- | ---: |{' ---: |' * len(KINDS)}")
    for name, texts in corpora.items():
        cells = []
        for tokenizer in kinds.values():
            written, spaces = shares(tokenizer, texts)
            cells.append(f"{written:.1%} ({spaces:.1%})")
        print(f"| {name} | {sum(len(text.words) for text in texts):,} | {' | '.join(cells)} |", flush=True)
    print("\n| tokenizer | as written, µs per word | joined | ratio |\n| --- | ---: | ---: | ---: |")
    for kind, written_cost, joined_cost, value in costs(kinds, next(iter(corpora.values()))[:200]):
        print(f"| {kind} | {written_cost:.2f} | {joined_cost:.2f} | {value:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
