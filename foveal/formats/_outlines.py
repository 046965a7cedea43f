"""Outlines of objects as COCO writes them -> pixels: polygons, and run lengths, packed into text or not.

Knows arrays and numbers; not whose outlines they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from foveal.types import Size

# Six bits a character, from this one on: five of the number, one that says whether it goes on.
_FIRST_CHARACTER, _BITS, _GOES_ON, _NEGATIVE = 48, 5, 0x20, 0x10
# From the fourth on, run lengths are written as differences to the one before the last.
_PLAIN = 3
_FINER = 3


class Outline(NamedTuple):
    """One object's outline, as `drawn` takes it, and where it was read."""

    where: str
    label: str
    outline: object


def painted(outlines: Sequence[Outline], size: Size, names: Sequence[str], without: list[str]) -> np.ndarray:
    """(H, W) uint8: the numbers of the objects' names, the largest first, so that smaller ones lie on top; 0 where
    there is none. without: gets where each outline was read that cannot be drawn."""
    array = np.zeros(size, np.uint8)
    inside = [(one, drawn(one.outline, size)) for one in outlines]
    without += [one.where for one, pixels in inside if pixels is None]
    there = [(one, pixels) for one, pixels in inside if pixels is not None]
    for one, pixels in sorted(there, key=lambda pair: -int(pair[1].sum())):
        array[pixels] = names.index(one.label)
    return array


def without_empty_ground(
    names: Sequence[str], pictures: Mapping[Path, np.ndarray]
) -> tuple[Sequence[str], Mapping[Path, np.ndarray]]:
    """The same without the first name, which stands for no object, where every pixel is of some object."""
    if any((array == 0).any() for array in pictures.values()):
        return names, pictures
    return names[1:], {path: array - 1 for path, array in pictures.items()}


def drawn(outline: object, size: Size) -> np.ndarray | None:
    """(H, W) bool: what is inside; None where the outline is neither polygons nor run lengths of this size."""
    if isinstance(outline, Mapping):
        return _runs(outline, size)
    if not isinstance(outline, Sequence) or isinstance(outline, str) or not outline:
        return None
    parts = [_points(part) for part in outline]
    found = np.zeros(size, bool)
    for part in parts:
        if part is None:
            return None
        _fill(found, part)
    return found


def _points(part: object) -> np.ndarray | None:
    """(n, 2), x before y."""
    if not isinstance(part, Sequence) or len(part) < 6 or not all(type(v) in (int, float) for v in part):
        return None
    points = np.asarray(part[: len(part) // 2 * 2], float).reshape(-1, 2)
    return points if np.isfinite(points).all() else None


def _fill(found: np.ndarray, points: np.ndarray) -> None:
    """Set the pixels whose middles lie inside: drawn three times as fine, as borders are drawn too."""
    height, width = found.shape
    left, top = np.clip(np.floor(points.min(0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(points.max(0)), 0, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return
    canvas = Pillow.new("1", (_FINER * (right - left), _FINER * (bottom - top)))
    corners = _FINER * (points - (left, top))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in corners], fill=1)
    middle = _FINER // 2
    found[top:bottom, left:right] |= np.asarray(canvas, bool)[middle::_FINER, middle::_FINER]


def _runs(outline: Mapping[str, object], size: Size) -> np.ndarray | None:
    counts = outline.get("counts")
    lengths = _unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or outline.get("size") != [size.height, size.width]:
        return None
    if not all(type(length) is int and length >= 0 for length in lengths) or sum(lengths) != size.height * size.width:
        return None
    ones = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return ones.reshape(size.width, size.height).T


def _unpacked(text: str) -> list[int]:
    """Run lengths from the text that COCO's own tools pack them into."""
    found: list[int] = []
    codes = [ord(character) - _FIRST_CHARACTER for character in text]
    while codes:
        number, goes_on = 0, True
        for place in itertools.count():
            if not codes:
                return []
            code = codes.pop(0)
            number |= (code & (_GOES_ON - 1)) << _BITS * place
            goes_on = bool(code & _GOES_ON)
            if not goes_on:
                number |= -1 << _BITS * (place + 1) if code & _NEGATIVE else 0
                break
        found.append(number + (found[-2] if len(found) >= _PLAIN else 0))
    return found
