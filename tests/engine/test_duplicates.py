"""find_duplicates against brute force, and at the size where brute force is out of the question."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.engine.duplicates import find_duplicates


@dataclass(frozen=True)
class Thing:
    name: str
    digest: bytes
    fingerprint: int


def things(prints: list[int], contents: list[int] | None = None) -> list[Thing]:
    contents = contents or list(range(len(prints)))
    digests = [content.to_bytes(32, "big") for content in contents]
    return [Thing(f"{i:06d}.png", d, p) for i, (d, p) in enumerate(zip(digests, prints, strict=True))]


def connected(count: int, pairs: list[tuple[int, int]]) -> set[frozenset[int]]:
    sets = {i: {i} for i in range(count)}
    for i, j in pairs:
        if sets[i] is not sets[j]:
            sets[i] |= sets[j]
            for member in sets[j]:
                sets[member] = sets[i]
    return {frozenset(members) for members in sets.values()}


def near_prints(count: int, seed: int) -> list[int]:
    """Random walks: neighbours a few bits apart, so that distances 0 to 9 all occur."""
    rng = np.random.default_rng(seed)
    prints = [int(rng.integers(0, 2**64, dtype=np.uint64)) for _ in range(3)]
    while len(prints) < count:
        flips = rng.choice(64, int(rng.integers(0, 10)), replace=False)
        prints.append(prints[int(rng.integers(len(prints)))] ^ sum(1 << int(bit) for bit in flips))
    return prints


@given(count=st.integers(3, 60), seed=st.integers(0, 10_000), modulus=st.integers(1, 5))
def test_sets_equal_brute_force(count: int, seed: int, modulus: int) -> None:
    prints = near_prints(count, seed)
    contents = np.random.default_rng(seed).integers(0, count * 2, count).tolist()
    prints = [prints[contents.index(c)] for c in contents]  # equal content has an equal fingerprint

    def resembles(i: int, j: int) -> bool:
        return (prints[i] ^ prints[j]) % modulus == 0

    brute = [
        (i, j)
        for i, j in combinations(range(count), 2)
        if contents[i] == contents[j] or ((prints[i] ^ prints[j]).bit_count() <= 6 and resembles(i, j))
    ]
    pairs = find_duplicates(things(prints, contents), resembles)
    assert connected(count, [(i, j) for i, j, _ in pairs]) == connected(count, brute)
    assert all(exact == (contents[i] == contents[j]) for i, j, exact in pairs)
    assert len({(i, j) for i, j, _ in pairs}) == len(pairs) == count - len(connected(count, brute))


@pytest.mark.parametrize(("bits", "found"), [(0, True), (1, True), (6, True), (7, False)])
def test_every_distance_wherever_the_bits_lie(bits: int, found: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        start = int(rng.integers(0, 2**64, dtype=np.uint64))
        other = start ^ sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False))
        assert bool(find_duplicates(things([start, other]), lambda i, j: True)) is found


@given(order=st.permutations(range(30)))
def test_order_of_reading_changes_nothing(order: list[int]) -> None:
    base = things(near_prints(30, 7), [i // 2 if i < 6 else i for i in range(30)])
    shuffled = [base[i] for i in order]

    def named(items: list[Thing]) -> set[tuple[str, str, bool]]:
        pairs = find_duplicates(items, lambda i, j: items[i].fingerprint % 2 == items[j].fingerprint % 2)
        return {(items[i].name, items[j].name, exact) for i, j, exact in pairs}

    assert named(shuffled) == named(base)


def test_nothing_and_one_thing() -> None:
    assert find_duplicates([], lambda i, j: True) == []
    assert find_duplicates(things([5]), lambda i, j: True) == []


def test_resemblance_is_asked_once_a_set_not_once_a_pair() -> None:
    asked = []
    pairs = find_duplicates(things([9] * 3000), lambda i, j: not asked.append((i, j)))
    assert len(pairs) == len(asked) == 2999


def test_crowds_that_do_not_resemble_are_given_up_on() -> None:
    asked = []
    assert find_duplicates(things([0] * 3000), lambda i, j: bool(asked.append((i, j)))) == []
    assert 3000 <= len(asked) <= 50_000


def test_sixty_thousand_items_in_seconds() -> None:
    rng = np.random.default_rng(0)
    prints = rng.integers(0, 2**64, 60_000, dtype=np.uint64)
    prints[20_000:25_000] = 0  # blank pages
    prints[30_000:33_000] = prints[:3000] ^ (np.uint64(1) << rng.integers(0, 64, 3000).astype(np.uint64))
    origin = np.arange(60_000)
    origin[20_000:25_000], origin[30_000:33_000] = 20_000, np.arange(3000)
    items, asked = things(prints.tolist()), []

    def resembles(i: int, j: int) -> bool:
        asked.append(i)
        return bool(origin[i] == origin[j])

    start = time.perf_counter()
    pairs = find_duplicates(items, resembles)
    assert time.perf_counter() - start < 20, "2.5 s on 2 idle cores"
    assert {(min(i, j), max(i, j)) for i, j, _ in pairs if i < 3000} == {(i, 30_000 + i) for i in range(3000)}
    assert len(pairs) == 3000 + 4999
    assert len(asked) < 10_000
