"""The file of a linear-chain CRF as CRFsuite writes it, checked: CRFsuite itself follows every number in it blindly.

A file begins with 12 numbers of 32 bits: mark, size, type, version, counts, and where five parts begin. `FEAT` holds
the features (type, from, to, weight); `LFRF` and `AFRF` say which features belong to a label or an attribute; two
`CQDB` hold the names of labels and attributes as hash tables, and as lists by number besides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HEADER, _CHUNK, _FEATURE, _TABLES = 48, 12, 20, 256
_NAMES = 24 + 8 * _TABLES
"""Bytes before the names of a `CQDB`."""

_MOST_LABELS = 4_096
"""CRFsuite takes memory for every pair of labels."""

_LARGEST_WEIGHT = 1e100
"""Sums of such weights stay finite; CRFsuite finds no best path among sums that are not."""

Numbers = NDArray[np.int64]


def labels_of(content: bytes) -> list[str]:
    """Return the labels of a file, in the order of their numbers, if CRFsuite can read it safely.

    Every offset, count and number that CRFsuite follows when it opens the file and tags with it is looked at.

    Raises:
        ValueError: one of them leads out of the file or out of its tables; the text says which.
    """
    data = np.frombuffer(content, dtype=np.uint8)
    _require(len(data) >= _HEADER, "is shorter than its header")
    header = [int.from_bytes(content[at : at + 4], "little") for at in range(0, _HEADER, 4)]
    _, size, _, version, _, n_labels, n_attributes, *offsets = header
    features_at, labels_at, attributes_at, label_features_at, attribute_features_at = offsets
    _require(content[:4] == b"lCRF" and content[8:12] == b"FOMC" and version == 100, "is none of CRFsuite")
    _require(size == len(data), f"has {len(data):,} bytes of {size:,}")
    _require(1 <= n_labels <= _MOST_LABELS, f"has {n_labels:,} labels")
    _require(4 * n_attributes <= size, f"has {n_attributes:,} attributes")
    n_features = _features(data, features_at, n_labels)
    _references(data, label_features_at, b"LFRF", n_labels, n_features)
    _references(data, attribute_features_at, b"AFRF", n_attributes, n_features)
    _names(data, attributes_at, n_attributes)
    return _by_number(data, labels_at, _names(data, labels_at, n_labels), n_labels)


def _features(data: NDArray[np.uint8], begin: int, n_labels: int) -> int:
    """Check the features; returns how many there are."""
    number = _chunk(data, begin, b"FEAT")
    first = begin + _CHUNK
    _require(first + _FEATURE * number <= len(data), f"has {number:,} features")
    rows = data[first : first + _FEATURE * number].reshape(number, _FEATURE)
    to = rows[:, 8:12].copy().view("<u4").ravel()
    weights = rows[:, 12:20].copy().view("<f8").ravel()
    _require(bool((to < n_labels).all()), "has features of labels that it does not have")
    # False for what is no number, too.
    _require(bool((np.abs(weights) <= _LARGEST_WEIGHT).all()), "has weights that are no finite numbers")
    return number


def _references(data: NDArray[np.uint8], begin: int, mark: bytes, items: int, n_features: int) -> None:
    """Check which features belong to each item."""
    _chunk(data, begin, mark)
    _require(begin + _CHUNK + 4 * items <= len(data), f"has no {items:,} lists of features")
    starts = _u32(data, begin + _CHUNK + 4 * np.arange(items))
    _require(bool((starts + 4 <= len(data)).all()), "has lists of features outside itself")
    counts = _u32(data, starts)
    # Lists do not overlap in a file that CRFsuite wrote, and reading them must not take for ever.
    _require(int(counts.sum()) <= len(data) // 4, "has more features in its lists than numbers")
    _require(bool((starts + 4 + 4 * counts <= len(data)).all()), "has lists of features beyond its end")
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    features = _u32(data, np.repeat(starts + 4, counts) + 4 * within)
    _require(bool((features < n_features).all()), "has lists of features that it does not have")


def _names(data: NDArray[np.uint8], begin: int, items: int) -> NDArray[np.uint8]:
    """Check the hash tables of names; returns the bytes of their part."""
    _require(begin + _NAMES <= len(data), "has no room for its names")
    head = _u32(data, begin + 4 * np.arange(6))
    _require(data[begin : begin + 4].tobytes() == b"CQDB" and head[3] == 0x62445371, "has no names")
    _require(_NAMES <= head[1] <= len(data) - begin, "has names beyond its end")
    part = data[begin : begin + int(head[1])]
    tables = _u32(part, 24 + 4 * np.arange(2 * _TABLES)).reshape(_TABLES, 2)
    # A table that begins nowhere must not have entries, either: CRFsuite would look for them.
    starts, sizes = tables[(tables > 0).any(axis=1)].T
    _require(bool((starts > 0).all() and (sizes > 0).all()), "has tables of names without a place or a size")
    _require(bool((starts + 8 * sizes <= len(part)).all()), "has tables of names outside")
    _require(int(sizes.sum()) <= len(part) // 8, "has more names in its tables than room")
    table = np.repeat(np.arange(len(starts)), sizes)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    records = _u32(part, starts[table] + 8 * within + 4)
    # CRFsuite searches a table until it comes to an empty entry.
    empty = np.bincount(table[records == 0], minlength=len(starts))
    _require(bool((empty > 0).all()), "has tables of names without an end")
    records = records[records > 0]
    _strings(part, records)
    _require(bool((_u32(part, records) < items).all()), "has names of numbers that it does not have")
    return part


def _by_number(data: NDArray[np.uint8], begin: int, part: NDArray[np.uint8], items: int) -> list[str]:
    """Check the list of names by number; returns them."""
    listed, at = (int(number) for number in _u32(data, begin + np.array([16, 20])))
    _require(at > 0 and listed >= items and at + 4 * items <= len(part), "has no list of its labels")
    records = _u32(part, at + 4 * np.arange(items))
    _require(bool((records > 0).all()), "has labels without names")
    lengths = _strings(part, records)
    try:
        return [
            part[start + 8 : start + 7 + length].tobytes().decode()
            for start, length in zip(records.tolist(), lengths.tolist(), strict=True)
        ]
    except UnicodeDecodeError as error:
        raise ValueError("has labels that are not UTF-8") from error


def _strings(part: NDArray[np.uint8], records: Numbers) -> Numbers:
    """Check that names end where they say, and within their part; returns their bytes, the closing 0 included."""
    _require(bool((records + 8 <= len(part)).all()), "has names outside")
    lengths = _u32(part, records + 4)
    ends = records + 8 + lengths
    _require(bool((lengths > 0).all() and (ends <= len(part)).all()), "has names beyond its end")
    _require(bool((part[ends - 1] == 0).all()), "has names that do not end")
    return lengths


def _chunk(data: NDArray[np.uint8], begin: int, mark: bytes) -> int:
    """Check the head of a part; returns the number of its items."""
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


def _require(right: bool, problem: str) -> None:
    if not right:
        raise ValueError(problem)
