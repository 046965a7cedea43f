"""Finds the same thing stored twice: equal content by digest, near duplicates by 64-bit perceptual fingerprint.

Knows digests, fingerprints and a costly question that settles a pair. Does not know what the things are, nor what
is done about duplicates (splits.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

_MAX_BITS = 6
"""Fingerprints further apart than this are never asked about."""

_BANDS = _MAX_BITS + 1
"""Six differing bits leave at least one of seven bands untouched (pigeonhole)."""

_COMPARISONS = 10_000_000
"""Fingerprint comparisons a band, about 0.3 s: complete for 100,000 items whose fingerprints spread out."""

_CHUNK = 1_000_000
"""Comparisons at once, 30 MB."""

_CANDIDATES = 200_000
"""Candidates a band where every fingerprint is near every other: complete for 400 items of any kind."""

_REFUSALS = 50_000
"""Refused questions before giving up, about 5 s at 0.1 ms: only fingerprints that say nothing get so many."""


class Fingerprinted(Protocol):
    """What the search needs of an item; name only orders, so that the order of reading changes nothing."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def fingerprint(self) -> int: ...


def find_duplicates(
    items: Sequence[Fingerprinted], resembles: Callable[[int, int], bool]
) -> list[tuple[int, int, bool]]:
    """Pairs (i, j, exact) that connect every set of duplicates; i has the earlier name.

    Exact: equal digests, each with the first of its set. Near: fingerprints within 6 bits and `resembles(i, j)`,
    which is asked only about pairs that are not yet connected, nearest first. Sets are complete for up to 300
    items and wherever fingerprints spread out; where thousands crowd within 6 bits of each other (blank pages,
    thumbnails of digits) each is held against its nearest neighbours, and after 50,000 refusals the rest is unasked.
    """
    order = sorted(range(len(items)), key=lambda i: (items[i].name, items[i].digest))
    pairs: list[tuple[int, int, bool]] = []
    first: dict[bytes, int] = {}
    for i in order:
        keeper = first.setdefault(items[i].digest, i)
        if keeper != i:
            pairs.append((keeper, i, True))
    kept = list(first.values())
    prints = np.array([items[i].fingerprint for i in kept], np.uint64)
    near = _verified(_near_pairs(prints), len(kept), lambda a, b: resembles(kept[a], kept[b]))
    return pairs + [(kept[a], kept[b], False) for a, b in near]


def _verified(pairs: np.ndarray, count: int, resembles: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    """The pairs (P, 2) that resemble each other, skipping those that earlier ones connected (union-find)."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    refusals = 0
    for a, b in pairs.tolist():
        if root(a) == root(b):
            continue
        if resembles(a, b):
            parent[root(b)] = root(a)
            yield a, b
        elif (refusals := refusals + 1) >= _REFUSALS:
            return


def _near_pairs(prints: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) int64 of positions in prints (N,) uint64 within 6 bits: each one's nearest first, then second."""
    count = max(len(prints), 1)
    edges = np.linspace(0, 64, _BANDS + 1).round().astype(int).tolist()
    found = [_band_pairs(prints, start, end - start) for start, end in pairwise(edges)]
    code = np.unique(np.concatenate([left * count + right for left, right in found]))
    left, right = np.divmod(code, count)
    distance = np.bitwise_count(prints[left] ^ prints[right])
    by_item = np.argsort(left * (_MAX_BITS + 1) + distance, kind="stable")
    left, right, distance = left[by_item], right[by_item], distance[by_item]
    fair = np.argsort(_rank(left) * (_MAX_BITS + 1) + distance, kind="stable")
    return np.stack([left, right], axis=1)[fair]


def _band_pairs(prints: np.ndarray, start: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right (P,) int64, left < right: pairs within 6 bits that share the band's bits.

    Sorted by the fingerprint rotated to begin with the band, so that a bucket too large for all its pairs is cut
    to windows of those that also agree in the bits that follow.
    """
    rotated = (prints << np.uint64(start)) | (prints >> np.uint64((64 - start) % 64))
    order = np.argsort(rotated, kind="stable")
    key = rotated[order] >> np.uint64(64 - width)
    following = np.searchsorted(key, key, side="right") - np.arange(len(key)) - 1
    window = len(key)
    while np.minimum(following, window).sum() > _COMPARISONS:
        window //= 2
    following = np.minimum(following, window)
    limit = max(16, _CANDIDATES // max(len(key), 1))
    parts = [_compare(prints[order], following, chunk, limit) for chunk in _chunks(following)]
    a, b = (order[np.concatenate(column)] for column in zip(*parts, strict=True))
    return np.minimum(a, b), np.maximum(a, b)


def _chunks(following: np.ndarray) -> list[np.ndarray]:
    """Positions in runs of about _CHUNK comparisons each, to bound memory."""
    total = np.cumsum(following)
    cuts = np.searchsorted(total, np.arange(_CHUNK, int(total[-1]) if len(total) else 0, _CHUNK))
    return np.split(np.arange(len(following)), np.unique(cuts))


def _compare(
    ordered: np.ndarray, following: np.ndarray, chunk: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hold each position of the chunk against as many after it as `following` says; keep `limit` within 6 bits."""
    a = np.repeat(chunk, following[chunk])
    b = a + 1 + _rank(a)
    near = np.flatnonzero(np.bitwise_count(ordered[a] ^ ordered[b]) <= _MAX_BITS)
    near = near[_rank(a[near]) < limit]
    return a[near], b[near]


def _rank(ordered: np.ndarray) -> np.ndarray:
    """0, 1, 2 ... within each run of equal values of a sorted array (P,)."""
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1)) if len(ordered) else np.zeros(0, int)
    return np.arange(len(ordered)) - np.repeat(starts, np.diff(starts, append=len(ordered)))
