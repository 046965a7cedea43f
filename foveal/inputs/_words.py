"""Text -> numbers of words, pairs of words and parts of words, by whole-number arithmetic that an export can do.

Knows UTF-8 bytes. Words are runs of letters and digits; a punctuation mark, a symbol and a Chinese or Japanese
character are each a word of its own. Numbers are hashes, so no vocabulary is learnt and every word has some; a word
that is unknown is known by its parts (Bojanowski et al. 2017, arXiv 1607.04606).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS = 2**18
"""Numbers go from 1 to this; 0 stands for nothing."""

WHOLES = 6
"""The first numbers of a word are of it as a whole, alone and after others."""

# Of a word so many bytes count.
LONGEST = 24
PRIME, EDGE = 2**31 - 1, 1
_SPACE = 32
_NOWHERE = 2**40
# Two bytes, of which the first is from 0xC2 to 0xDF, are a letter of most alphabets but the Latin one.
_FIRST_PAIR, _PAIRS, _CONTINUED = 0xC2, 30, 0x80
_LOWER = 32


class Spans(NamedTuple):
    """Of each word: (W,) int64 its first byte and its number of bytes, 0 where there is none."""

    start: Tensor
    length: Tensor


class Words(nn.Module):
    """Bytes (n,) uint8 -> (numbers, W) float32: of each of the first W words its own and those of it after the word
    before it, after the one before that, after both, after the first word of all and after the first two; then those
    of its parts."""

    weights: Tensor
    pairs: Tensor

    def __init__(self, words: int, parts: tuple[int, ...], part_bytes: int) -> None:
        """words: W; parts: how long parts are, in bytes; part_bytes: of a word from whose first so many they are."""
        super().__init__()
        self.words, self.parts, self.part_bytes = words, parts, part_bytes
        dice = torch.Generator().manual_seed(0)
        self.register_buffer("weights", torch.randint(1, PRIME, (64,), generator=dice), persistent=False)
        self.register_buffer("pairs", _lower_pairs(), persistent=False)

    @property
    def numbers(self) -> int:
        """How many numbers a word has."""
        return WHOLES + sum(self.part_bytes + 3 - length for length in self.parts)

    def forward(self, raw: Tensor) -> Tensor:
        text = self._lowered(raw)
        spans = self._spans(text)
        there = spans.length > 0
        letters = self._letters(text, spans)
        own = (letters * self.weights[:LONGEST]).sum(1) % PRIME
        before, two_before = F.pad(own[:-1], (1, 0)), F.pad(own[:-2], (2, 0))
        contexts = (before, two_before, after(before, two_before), own[:1], after(own[1:2], own[:1]))
        wholes = [self._number(own, 0), *(self._number(after(own, one), at + 1) for at, one in enumerate(contexts))]
        return torch.cat([torch.stack(wholes), *self._part_numbers(letters, spans)]).float() * there

    def spans(self, raw: Tensor) -> Spans:
        """Where the words are."""
        return self._spans(self._lowered(raw))

    def _lowered(self, raw: Tensor) -> Tensor:
        """(1 + n + margin,) int64: in lower case, amid spaces."""
        text = F.pad(raw.long(), (1, max(self.words, LONGEST) + 1), value=_SPACE)
        text = text + _LOWER * ((text >= ord("A")) & (text <= ord("Z")))
        after, before = _moved(text, -1), _moved(text, 1)
        leads = (text >= _FIRST_PAIR) & (text < _FIRST_PAIR + _PAIRS) & (after >= _CONTINUED) & (after < 0xC0)
        lead = self.pairs[((text - _FIRST_PAIR) * 64 + after - _CONTINUED).clamp(0, len(self.pairs) - 1)]
        follows = _moved(leads.long(), 1) > 0
        second = self.pairs[((before - _FIRST_PAIR) * 64 + text - _CONTINUED).clamp(0, len(self.pairs) - 1)]
        return torch.where(leads, lead[:, 0], torch.where(follows, second[:, 1], text))

    def _spans(self, text: Tensor) -> Spans:
        continued = (text >= _CONTINUED) & (text < 0xC0)
        # Punctuation beyond ASCII, Chinese, Japanese, pictures: each character is a word.
        single = ((text >= 0xE2) & (text <= 0xE9)) | (text >= 0xF0)
        rest = torch.zeros_like(single)
        for back in (1, 2, 3):
            run = continued
            for between in range(1, back):
                run = run & (_moved(continued.long(), between) > 0)
            rest = rest | (run & (_moved(single.long(), back) > 0))
        digits, latin = (text >= ord("0")) & (text <= ord("9")), (text >= ord("a")) & (text <= ord("z"))
        letter = digits | latin | (text == ord("'")) | ((text >= _CONTINUED) & ~single & ~rest)
        part = (text > _SPACE) & (text != 127)
        begins = (letter & (_moved(letter.long(), 1) == 0)) | single | (part & ~letter & ~rest)
        ends = part & ((_moved(begins.long(), -1) > 0) | (_moved(part.long(), -1) == 0))
        place = torch.arange(text.shape[0])
        start, end = (
            torch.topk(torch.where(marks, place, _NOWHERE), self.words, largest=False, sorted=True).values
            for marks in (begins, ends)
        )
        return Spans(start.clamp_max(text.shape[0] - 1), (end - start + 1) * (start < _NOWHERE))

    def _letters(self, text: Tensor, spans: Spans) -> Tensor:
        """(W, longest) bytes of each word, then 0."""
        offset = torch.arange(LONGEST)
        place = (spans.start[:, None] + offset).clamp_max(text.shape[0] - 1)
        return text[place] * (offset < spans.length[:, None])

    def _part_numbers(self, letters: Tensor, spans: Spans) -> list[Tensor]:
        """(count, W) each: of runs of letters, the ends of a word counting as one."""
        length = spans.length.clamp_max(self.part_bytes)[:, None]
        place = torch.arange(self.part_bytes + 2)
        edged = F.pad(letters[:, : self.part_bytes], (1, 1))
        edged = torch.where((place == 0) | (place == length + 1), EDGE, edged)
        found = []
        for long in self.parts:
            count = self.part_bytes + 3 - long
            runs = [edged[:, at : at + count] * self.weights[at] for at in range(long)]
            total = torch.stack(runs).sum(0) % PRIME
            whole = torch.arange(count) + long <= length + 2
            found.append((self._number(total, WHOLES + long) * whole).T)
        return found

    def _number(self, hashed: Tensor, kind: int) -> Tensor:
        return number_of(hashed, kind, self.weights)


def number_of(hashed: Any, kind: int, weights: Any) -> Any:
    """From 1 to KINDS, differently for each kind; hashed: from 0 to the prime, weights: of `Words`."""
    return (hashed * weights[32 + kind] + weights[48 + kind]) % PRIME % KINDS + 1


def after(word: Any, other: Any) -> Any:
    """The hash of one word after another."""
    return (word * 31 + other) % PRIME


def _moved(text: Tensor, steps: int) -> Tensor:
    """What stands so many places before (after, where negative); 0 outside."""
    return F.pad(text[:-steps], (steps, 0)) if steps > 0 else F.pad(text[-steps:], (0, -steps))


def _lower_pairs() -> Tensor:
    """(1920, 2): the two bytes of the lower-case letter of each character of two bytes, or its own."""
    rows = []
    for number in range(_PAIRS * 64):
        own = bytes([_FIRST_PAIR + number // 64, _CONTINUED + number % 64])
        lower = own.decode().lower().encode()
        rows.append(list(lower if len(lower) == 2 else own))
    return torch.tensor(rows)
