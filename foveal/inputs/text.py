"""Text: a string of any length and script <-> (N, numbers, W) float32, the numbers of its first W words.

Knows how texts are decoded, told apart and drawn; what a word is, `_words.py` says. Knows nothing of labels.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor, nn

from foveal.contracts import Canvas, Input
from foveal.errors import DataError
from foveal.inputs import _cues
from foveal.inputs._plane import ERASED, RARELY_ERASED, own_cells, some_spans
from foveal.inputs._word_table import WordTable
from foveal.inputs._words import KINDS, Words
from foveal.types import Cue, Disturbance, Draw, Finding, Packed, Pieces, Raw, Size, Stacked

# Texts of which so many are looked at for their lengths; nearly all are seen whole, within limits.
_READ, _LONG_ENOUGH = 3000, 0.99
_FEWEST_WORDS, _MOST_WORDS = 8, 400
# Parts of words: how many bytes they have, and of how many of a word's first bytes; fewer in long texts.
_PARTS, _PART_BYTES = (2, 3, 4, 5), 12
_LONG, _PARTS_OF_LONG, _PART_BYTES_OF_LONG = 100, (3, 4), 10
# Of the words of two texts that are one, such a share is in both.
_SAME_SHARE, _SKETCH = 0.92, 64
# Augmentation leaves out such a share of all words.
_LEFT_OUT, _LEFT_OUT_GENTLY = 0.15, 0.1
_WIDTH, _LINE, _MOST_LINES, _COLUMNS = 480, 20, 14, 62


@dataclass(frozen=True)
class Text(Input):
    """Texts, of which the first `size` words are seen. gently: whether augmentation leaves out few words; erasing: in
    which share of texts it hides spans."""

    size: int = 64
    gently: bool = False
    erasing: float = ERASED
    dims = 1
    kinds = KINDS
    suffixes = (".txt",)
    in_files = False
    exact = True
    raw_axes = MappingProxyType({0: "bytes"})

    def fit(self, sources: Sequence[Path], size: int | None) -> Text:
        """As many words as 99 of 100 texts have, 400 at most."""
        counts = _word_counts(sources)
        if size is not None or not counts:
            return replace(self, size=size or self.size)
        wanted = int(np.ceil(np.quantile(counts, _LONG_ENOUGH)))
        return replace(self, size=min(max(wanted, _FEWEST_WORDS), _MOST_WORDS))

    def findings(self, sources: Sequence[Path]) -> tuple[Finding, ...]:
        counts = _word_counts(sources)
        long = sum(count > self.size for count in counts)
        if not counts or long <= (1 - _LONG_ENOUGH) * len(counts) + 1:
            return ()
        message = f"Of {long / len(counts):.0%} of the texts, which are longer, the first {self.size} words are read"
        return (Finding("longer", message),)

    def load(self, source: Path) -> Raw:
        """A str."""
        try:
            data = source.read_bytes()
        except OSError as error:
            raise DataError(f"{source}: cannot be opened ({error.strerror})") from error
        return _decoded(source, data)

    def blank(self) -> Raw:
        return "nothing"

    def raw_size(self, source: Path) -> Size | None:
        try:
            return Size(1, max(1, len(source.read_bytes())))
        except OSError:
            return None

    def pack(self, raw: Raw) -> Packed:
        """(numbers, W) float32."""
        return Packed(_table_of(self.size)(raw), Size(1, len(self.tensor(raw))))

    def batch(self, stacked: Stacked, draw: Draw | None) -> tuple[Tensor, Pieces]:
        x, sizes = stacked.array, stacked.raw_size
        if draw is None:
            return x.clone(), self.pieces(sizes)
        share = _LEFT_OUT_GENTLY if self.gently else _LEFT_OUT
        kept = draw.uniform("left out", x.shape[2], device=x.device) >= share
        x = self.erase(x * kept[:, None], some_spans(draw, self.erasing), draw)
        return x, self.pieces(sizes)

    def tensor(self, raw: Raw) -> Tensor:
        """(n,) uint8, UTF-8; a space where there is nothing."""
        return torch.frombuffer(bytearray(raw.encode("utf-8", "replace") or b" "), dtype=torch.uint8)

    def pieces(self, raw_sizes: Tensor) -> Pieces:
        rows = torch.arange(len(raw_sizes))
        affine = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).repeat(len(rows), 1, 1)
        clip = torch.tensor([[0.0, 0.0, float(self.size), 1.0]]).repeat(len(rows), 1)
        return Pieces(affine=affine, row=rows, source=rows, clip=clip, raw_size=raw_sizes)

    def stem(self) -> nn.Module:
        return TextStem(self)

    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        """x: (N, numbers, W); cells: (N, g) bool. Where there was a word there is none."""
        where = own_cells(x.shape[2], cells.shape[1])
        return torch.where(cells[:, where][:, None].to(x.device), torch.zeros_like(x), x)

    def grid(self) -> tuple[int, ...]:
        """Each word."""
        return (self.size,)

    def from_nothing(self) -> Text:
        return replace(self, gently=True, erasing=RARELY_ERASED)

    def rarely_erased(self) -> Text:
        return replace(self, erasing=RARELY_ERASED)

    def disturbed(self, raw: Raw) -> Iterator[tuple[Disturbance, Raw]]:
        """In capitals, without punctuation, with words left out, with letters that changed places."""
        dice = np.random.Generator(np.random.Philox(key=len(raw)))
        yield Disturbance("case", "capitals"), raw.upper()
        yield Disturbance("punctuation", "none"), "".join(c if c.isalnum() or c.isspace() else " " for c in raw)
        words = raw.split()
        for share in (0.1, 0.2):
            kept = [word for word in words if dice.random() >= share] or words
            yield Disturbance("words left out", f"{share:.0%}"), " ".join(kept)
        for share in (0.1, 0.2):
            typed = [_mistyped(word, dice) if dice.random() < share else word for word in words]
            yield Disturbance("misspelt words", f"{share:.0%}"), " ".join(typed)

    def cues(self) -> Mapping[str, Cue]:
        return _cues.TEXTS

    def fingerprint(self, raw: Raw) -> int:
        """By which of 64 signs most words agree (Charikar 2002)."""
        numbers = _word_numbers(self.pack(raw).array)
        signs = _hashed(numbers, 64) & 1
        return int(np.packbits(2 * signs.sum(1) > len(numbers)).view(np.uint64)[0])

    def sketch(self, raw: Raw) -> np.ndarray:
        """(64,) float32: the least of as many hashes of the words (Broder 1997)."""
        numbers = _word_numbers(raw if isinstance(raw, np.ndarray) else self.pack(raw).array)
        return (_hashed(numbers, _SKETCH).min(1) >> 8).astype(np.float32)

    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a == b).mean() >= _SAME_SHARE)

    def render(self, raw: Raw) -> Canvas:
        """Its beginning in black on white."""
        lines = _lines(raw)
        canvas = Pillow.new("RGB", (_WIDTH, _LINE * len(lines) + 12), "white")
        pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=14)
        for number, line in enumerate(lines):
            pen.text((8, 6 + _LINE * number), line, font=font, fill=(28, 28, 28))
        return canvas

    def drawn_size(self, raw_size: Size) -> Size:
        return Size(_LINE, _WIDTH)

    def named_cells(self, raw: Raw) -> tuple[str, ...]:
        """Each word that is seen, with what stands between it and the next one."""
        data = bytes(self.tensor(raw).numpy())
        spans = self.words.spans(self.tensor(raw))
        starts = [start - 1 for start, length in zip(*map(Tensor.tolist, spans), strict=True) if length > 0]
        ends = [*starts[1:], len(data)][: len(starts)]
        if len(starts) == self.size:  # what follows the last word that is seen is not seen
            ends[-1] = starts[-1] + int(spans.length[-1])
        return tuple(data[start:end].decode("utf-8", "replace") for start, end in zip(starts, ends, strict=True))

    @property
    def words(self) -> Words:
        """What finds the words and their numbers."""
        return _words_of(self.size)


class TextStem(nn.Module):
    """The reference path: raw (n,) uint8 -> ((1, numbers, W) float32, Pieces)."""

    def __init__(self, input: Text) -> None:
        super().__init__()
        self.input, self.words = input, input.words

    def forward(self, raw: Tensor) -> tuple[Tensor, Pieces]:
        return self.words(raw)[None], self.input.pieces(torch.tensor([[1, raw.shape[0]]], dtype=torch.int64))


@lru_cache(maxsize=16)
def _words_of(size: int) -> Words:
    if size > _LONG:
        return Words(size, _PARTS_OF_LONG, _PART_BYTES_OF_LONG)
    return Words(size, _PARTS, _PART_BYTES)


@lru_cache(maxsize=16)
def _table_of(size: int) -> WordTable:
    return WordTable(_words_of(size))


def _decoded(source: Path, data: bytes) -> str:
    """UTF-8, UTF-16 with its mark, else latin-1. Raises DataError where it is no text."""
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "latin-1")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise DataError(f"{source}: not a text (it begins with {data[:8]!r}); expected UTF-8")


def _word_counts(sources: Sequence[Path]) -> list[int]:
    found = []
    for source in sources[:: max(1, len(sources) // _READ)]:
        try:
            text = _decoded(source, source.read_bytes())
        except (OSError, DataError):
            continue
        found.append(sum(1 + sum(not c.isalnum() for c in word.strip("'")) for word in text.split()))
    return found


def _word_numbers(array: np.ndarray) -> np.ndarray:
    """The words' own numbers; that of nothing where there is none."""
    numbers = array[0][array[0] > 0].astype(np.uint64)
    return numbers if len(numbers) else np.zeros(1, np.uint64)


def _hashed(numbers: np.ndarray, count: int) -> np.ndarray:
    """(count, n) uint32: as many hashes of each number."""
    mixed = (numbers[None] + np.uint64(1)) * _salts(count)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(33)).astype(np.uint32)


@cache
def _salts(count: int) -> np.ndarray:
    """(count, 1) uint64, odd."""
    drawn = np.random.Generator(np.random.Philox(key=1)).integers(1, 2**62, count, dtype=np.uint64)
    return drawn[:, None] | np.uint64(1)


def _mistyped(word: str, dice: np.random.Generator) -> str:
    """Two letters inside the word have changed places."""
    if len(word) < 4:
        return word
    at = int(dice.integers(1, len(word) - 2))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _lines(text: str) -> list[str]:
    lines = [line for part in text.splitlines() or [""] for line in textwrap.wrap(part, _COLUMNS) or [""]]
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "…"]
