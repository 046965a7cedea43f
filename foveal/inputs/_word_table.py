"""The numbers that `Words` gives, for thousands of texts: each different word's are computed once and kept.

Knows strings where `Words` knows bytes; that the two agree is a contract (`tests/contract/test_inputs.py`).
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from foveal.inputs._words import EDGE, LONGEST, PRIME, WHOLES, Words, after, number_of

# Runs of letters and digits; a Chinese or Japanese character, or one beyond; a punctuation mark.
_WORD = re.compile(r"[a-z0-9'\u0080-\u1fff\ua000-\uffff]+|[\u2000-\u9fff\U00010000-\U0010ffff]|[!-&(-/:-@\[-`{-~]")
_KEPT = 200_000


class WordTable:
    """Texts -> (numbers, W) float32, as `words` gives them."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._weights = words.weights.numpy()
        self._column = lru_cache(maxsize=_KEPT)(self._computed)

    def __call__(self, text: str) -> np.ndarray:
        columns = [self._column(word) for word in _split(text, self.words.words)]
        found = np.zeros((self.words.numbers, self.words.words), np.float32)
        if not columns:
            return found
        found[:, : len(columns)] = np.stack([column for _, column in columns], axis=1)
        own = np.array([own for own, _ in columns])
        before, two_before = (np.concatenate([np.zeros(steps, np.int64), own])[: len(own)] for steps in (1, 2))
        second = own[1] if len(own) > 1 else 0
        contexts = (before, two_before, after(before, two_before), own[0], after(second, own[0]))
        for at, one in enumerate(contexts, 1):
            found[at, : len(own)] = number_of(after(own, one), at, self._weights)
        return found

    def _computed(self, word: str) -> tuple[int, np.ndarray]:
        """Its hash, and all numbers but those of it after others."""
        data = word.encode()
        letters = np.frombuffer(data[:LONGEST], np.uint8).astype(np.int64)
        own = int((letters * self._weights[: len(letters)]).sum() % PRIME)
        column = np.zeros(self.words.numbers, np.float32)
        column[0] = number_of(own, 0, self._weights)
        edged = np.concatenate([[EDGE], letters[: self.words.part_bytes], [EDGE]])
        at = WHOLES
        for long in self.words.parts:
            if len(edged) >= long:
                runs = np.lib.stride_tricks.sliding_window_view(edged, long) @ self._weights[:long] % PRIME
                column[at : at + len(runs)] = number_of(runs, WHOLES + long, self._weights)
            at += self.words.part_bytes + 3 - long
        return own, column


def _split(text: str, most: int) -> list[str]:
    found = []
    for match in _WORD.finditer(text.encode("utf-8", "replace").decode().translate(_lower())):
        if len(found) == most:
            break
        found.append(match[0])
    return found


@lru_cache(maxsize=1)
def _lower() -> dict[int, int]:
    """Of each character of one or two bytes, the lower-case letter of as many."""
    table = {}
    for number in range(0x800):
        lower = chr(number).lower()
        if len(lower) == 1 and len(lower.encode()) == len(chr(number).encode()):
            table[number] = ord(lower)
    return table
