"""A trained linear-chain CRF: read from a file that CRFsuite wrote, and decoded with NumPy.

A file begins with 12 numbers of 32 bits: mark, size, type, version, counts, and the offsets of five parts. `FEAT` holds
the features (type, from, to, weight); `LFRF` and `AFRF` list the features of each label (transitions) and of each
attribute (states); two `CQDB` hold the names of labels and attributes. No offset, count or number is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER, _CHUNK, _FEATURE = 48, 12, 20
_NAMES = 24
"""Bytes of the header of a `CQDB`."""

_MAX_LABELS = 4_096
"""Bounds the memory for the weights of transitions."""

_MAX_WEIGHT = 1e100
"""Sums of such weights stay finite; there is no best path among sums that are not."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Crf:
    """A linear-chain CRF.

    Attributes:
        labels: (n_labels,)
        transitions: (n_labels, n_labels) weight from label to label.
        attributes: name of an attribute -> its number.
        starts: (n_attributes + 1,) where the weights of each attribute start in the next two.
        weighted_labels: (n_weights,) number of a label.
        weights: (n_weights,) float64.
    """

    labels: tuple[str, ...]
    transitions: NDArray[np.float64]
    attributes: Mapping[bytes, int]
    starts: Numbers
    weighted_labels: Numbers
    weights: NDArray[np.float64]

    @classmethod
    def read(cls, content: bytes) -> Crf:
        """Return the CRF of a file.

        Raises:
            ValueError: it is damaged, or not a file of CRFsuite; the text says why.
        """
        data = np.frombuffer(content, dtype=np.uint8)
        _require(len(data) >= _HEADER, "is shorter than its header")
        _, size, _, version, _, n_labels, n_attributes, *offsets = np.frombuffer(content, "<u4", 12).tolist()
        features_at, labels_at, attributes_at, label_lists_at, attribute_lists_at = offsets
        _require(
            content[:4] == b"lCRF" and content[8:12] == b"FOMC" and version == 100,
            "is not a file of CRFsuite",
        )
        _require(size == len(data), f"has {len(data):,} bytes, not {size:,}")
        _require(1 <= n_labels <= _MAX_LABELS, f"has {n_labels:,} labels")
        _require(4 * n_attributes <= size, f"has {n_attributes:,} attributes")
        to, weight = _features(data, features_at, n_labels)

        starts, features = _lists(data, label_lists_at, b"LFRF", n_labels, len(to))
        transitions = np.zeros((n_labels, n_labels))
        transitions[np.repeat(np.arange(n_labels), np.diff(starts)), to[features]] = weight[features]

        starts, features = _lists(data, attribute_lists_at, b"AFRF", n_attributes, len(to))
        names = _names(content, data, labels_at, n_labels)
        try:
            labels = tuple(name.decode() for name in names)
        except UnicodeDecodeError as error:
            raise ValueError("has labels that are not UTF-8") from error
        attributes = {
            name: number for number, name in enumerate(_names(content, data, attributes_at, n_attributes))
        }
        return cls(labels, transitions, attributes, starts, to[features], weight[features])

    def tag(self, sentence: Sequence[Sequence[bytes]]) -> list[str]:
        """Return the most probable labels of a sentence, of which each word is given by its attributes.

        Among equally probable paths the choice is that of CRFsuite, because sums are formed in its order.
        """
        if not sentence:
            return []
        scores = self._state_scores(sentence)
        best = np.empty(scores.shape, dtype=np.intp)
        path_scores = scores[0]
        for position in range(1, len(scores)):
            by_previous = path_scores[:, np.newaxis] + self.transitions
            best[position] = by_previous.argmax(axis=0)
            path_scores = by_previous.max(axis=0) + scores[position]
        label = int(path_scores.argmax())
        path = [label]
        for position in range(len(scores) - 1, 0, -1):
            label = int(best[position, label])
            path.append(label)
        return [self.labels[number] for number in reversed(path)]

    def _state_scores(self, sentence: Sequence[Sequence[bytes]]) -> NDArray[np.float64]:
        """Return the (n_words, n_labels) sums of the weights of the attributes of each word."""
        number_of = self.attributes.get
        numbers = np.array([number_of(name, -1) for word in sentence for name in word], dtype=np.int64)
        word = np.repeat(np.arange(len(sentence)), [len(names) for names in sentence])
        word, numbers = word[numbers >= 0], numbers[numbers >= 0]
        counts = self.starts[numbers + 1] - self.starts[numbers]
        index = _ranges(self.starts[numbers], counts)
        n_labels = len(self.labels)
        cell = np.repeat(word, counts) * n_labels + self.weighted_labels[index]
        # bincount adds the weights in the order of the attributes, as CRFsuite does.
        sums = np.bincount(cell, self.weights[index], minlength=len(sentence) * n_labels)
        return np.asarray(sums, dtype=np.float64).reshape(len(sentence), n_labels)


def _features(
    data: NDArray[np.uint8], begin: int, n_labels: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the label and the weight of every feature."""
    number = _chunk(data, begin, b"FEAT")
    first = begin + _CHUNK
    _require(first + _FEATURE * number <= len(data), f"has {number:,} features")
    rows: Any = data[first : first + _FEATURE * number].view(
        [("", "<u4", 2), ("to", "<u4"), ("weight", "<f8")]
    )
    to, weight = rows["to"].astype(np.int64), rows["weight"].astype(np.float64)
    _require(bool((to < n_labels).all()), "has features of labels that it does not have")
    # The comparison is False for NaN, too.
    _require(bool((np.abs(weight) <= _MAX_WEIGHT).all()), "has weights that are not finite numbers")
    return to, weight


def _lists(
    data: NDArray[np.uint8], begin: int, mark: bytes, n_items: int, n_features: int
) -> tuple[Numbers, Numbers]:
    """Return the features of all items, and where those of each item start and end."""
    _chunk(data, begin, mark)
    _require(begin + _CHUNK + 4 * n_items <= len(data), f"has fewer than {n_items:,} lists of features")
    starts = _u32(data, begin + _CHUNK + 4 * np.arange(n_items))
    _require(bool((starts + 4 <= len(data)).all()), "has lists of features outside itself")
    counts = _u32(data, starts)
    # Lists do not overlap in a file that CRFsuite wrote; overlapping ones could need any amount of memory.
    _require(int(counts.sum()) <= len(data) // 4, "has more features in its lists than numbers")
    _require(bool((starts + 4 + 4 * counts <= len(data)).all()), "has lists of features beyond its end")
    features = _u32(data, starts.repeat(counts) + 4 + 4 * _ranges(np.zeros_like(counts), counts))
    _require(bool((features < n_features).all()), "has lists of features that it does not have")
    return np.concatenate([[0], np.cumsum(counts)]), features


def _names(content: bytes, data: NDArray[np.uint8], begin: int, n_items: int) -> list[bytes]:
    """Return the names of all items, in the order of their numbers."""
    _require(begin + _NAMES <= len(data), "has no room for its names")
    _, size, _, order, n_listed, list_at = _u32(data, begin + 4 * np.arange(6)).tolist()
    _require(content[begin : begin + 4] == b"CQDB" and order == 0x62445371, "has no names")
    _require(_NAMES <= size <= len(data) - begin, "has names beyond its end")
    # If all weights are zero, because every word has the same tag, nothing is listed.
    listed = n_items == 0 or 0 < list_at <= size - 4 * n_items
    _require(n_listed == n_items and listed, "has no list of its names")
    at = _u32(data, begin + list_at + 4 * np.arange(n_items))
    _require(bool(((at > 0) & (at + 8 <= size)).all()), "has names outside")
    at += begin
    _require(bool((_u32(data, at) == np.arange(n_items)).all()), "has names of other numbers")
    ends = at + 8 + _u32(data, at + 4)
    _require(bool(((ends > at + 8) & (ends <= begin + size)).all()), "has names beyond its end")
    # A zero byte ends each name.
    return [content[start + 8 : end - 1] for start, end in zip(at.tolist(), ends.tolist(), strict=True)]


def _chunk(data: NDArray[np.uint8], begin: int, mark: bytes) -> int:
    """Check the head of a part; return the number of its items."""
    _require(
        begin + _CHUNK <= len(data) and data[begin : begin + 4].tobytes() == mark,
        f"has no part {mark.decode()} where it should be",
    )
    return int(_u32(data, np.array([begin + 8]))[0])


def _u32(data: NDArray[np.uint8], at: Numbers) -> Numbers:
    """Return the numbers that begin at these bytes, which lie within the data; they need not be aligned."""
    return sum(
        (data[at + byte].astype(np.int64) << 8 * byte for byte in range(4)), np.zeros(len(at), np.int64)
    )


def _ranges(starts: Numbers, counts: Numbers) -> Numbers:
    """Return `counts[i]` ascending numbers from `starts[i]` on, for all i."""
    return np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
