"""Things in a picture that could be told of another class: those that are large enough to be marked, by themselves.

Knows boxes and masks in raw coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

from foveal.targets._box_metric import overlap, sides_of
from foveal.targets._events import PLAIN, events_of
from foveal.types import Box, Size, Thing

# Of the shorter side of a picture, how long both of a thing's are at least, and of each side at most; of a recording
# at least.
_LEAST, _MOST, _LEAST_OF_TIME = 0.08, 0.6, 0.02
# A thing fills at least so much of its window: what winds through the picture is none.
_FILLED = 0.3
# What overlaps another box by more cannot be told from it.
_APART = 0.3


def boxed_things(boxes: Sequence[Box], size: Size) -> list[Thing]:
    """Boxes that hardly overlap another one; `part` is the number of the box."""
    sides = sides_of(boxes).clip(0, [size.width, size.height] * 2)
    if not len(sides):
        return []
    overlaps = overlap(sides, sides, np.zeros(len(sides), bool))
    np.fill_diagonal(overlaps, 0)
    alone, large = overlaps.max(1) <= _APART, _marked_easily(sides, size)
    return [
        Thing(box.label, tuple(own), number)
        for number, (box, own) in enumerate(zip(boxes, sides.tolist(), strict=True))
        if alone[number] and large[number] and not box.ignored
    ]


def masked_things(mask: np.ndarray, class_names: Sequence[str]) -> list[Thing]:
    """Connected pixels of one class, but for what is plain; events, where there is one row. `part` is rows, columns
    and which of those pixels (bool)."""
    height, width = mask.shape
    if height == 1:
        return [
            Thing(event.label, (event.onset, 0, event.offset, 1), _all_of(event.onset, event.offset))
            for event in events_of(mask, class_names)
            if event.offset - event.onset >= _LEAST_OF_TIME * width
        ]
    return list(_regions(mask, class_names))


def _regions(mask: np.ndarray, class_names: Sequence[str]) -> Iterator[Thing]:
    size = Size(*mask.shape)
    for kind, name in enumerate(class_names):
        if name.casefold() in PLAIN or not (there := mask == kind).any():
            continue
        numbers = np.asarray(ndimage.label(there)[0])  # type: ignore[index]
        for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), 1):
            sides = np.array([[columns.start, rows.start, columns.stop, rows.stop]], float)
            own = numbers[rows, columns] == number
            if _marked_easily(sides, size)[0] and own.mean() >= _FILLED:
                yield Thing(name, tuple(sides[0].tolist()), (rows, columns, own))


def _marked_easily(sides: np.ndarray, size: Size) -> np.ndarray:
    """sides (n, 4) -> (n,) bool: neither too small for a mark nor most of the picture."""
    long = sides[:, 2:] - sides[:, :2]
    least, most = _LEAST * min(size), _MOST * np.array([size.width, size.height])
    return np.asarray(np.logical_and(long >= least, long <= most).all(1))


def _all_of(begin: int, end: int) -> tuple[slice, slice, np.ndarray]:
    return slice(0, 1), slice(begin, end), np.ones((1, end - begin), bool)
