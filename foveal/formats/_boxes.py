"""Pictures with boxes as some file states them -> a Dataset: sides clipped to the picture, what is no box told.

Knows pixels and classes; does not know in which layout they were written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from foveal.formats._dataset import assemble
from foveal.formats._patterns import grouped
from foveal.headers import read_header
from foveal.layouts import FormatOptions
from foveal.types import Box, Dataset, Example, Finding, Size

# Sides within a pixel of the border are rounding, and cut off without a word.
_SLACK_PIXELS = 1.0

_TOLD = {
    "unreadable-size": "pictures cannot be read, so their boxes are not checked against their size",
    "other-size": "pictures have another size than their annotations state; the boxes are scaled to fit",
    "swapped-size": "pictures have width and height stated the wrong way round; the boxes are taken as they are",
    "sideways": "pictures are annotated lying on their side (without their EXIF orientation) and are left out",
    "zero-area": "boxes have no area and are left out",
    "outside": "boxes lie outside their picture and are left out",
    "sticks-out": "boxes stick out of their picture and are cut off at its border",
    "repeated-box": "boxes stand in a picture more than once and are kept once",
}


class Written(NamedTuple):
    """One box in pixels of the picture; where: file and line; ignored: see `types.Box`."""

    where: str
    label: str
    left: float
    top: float
    right: float
    bottom: float
    ignored: bool = False


class Scene(NamedTuple):
    """One picture and its boxes; size: the picture's as the annotation states it, None where it does not."""

    source: Path
    boxes: Sequence[Written]
    split: str | None = None
    size: Size | None = None


def gather(
    root: Path,
    layout: str,
    scenes: Sequence[Scene],
    findings: Sequence[Finding],
    options: FormatOptions,
    declared: Sequence[str] | None = None,
) -> Dataset:
    """One example a picture. Raises DataError where no picture is left, or none has a box."""
    met: dict[str, list[str]] = {kind: [] for kind in _TOLD}
    examples = []
    for scene in scenes:
        boxes = _fitted(scene, met)
        if boxes is not None:
            examples.append(Example(scene.source, tuple(_kept(boxes, met)), scene.split))
    examples, ungrouped = grouped(root, examples, options.group)
    found = [*findings, *ungrouped, *counted(met, _TOLD)]
    return assemble(root, layout, examples, found, declared, unit="box")


def finite(text: str) -> float | None:
    """The number that a text says; None where it says none, or none that is finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def counted(met: Mapping[str, Sequence[str]], texts: Mapping[str, str]) -> list[Finding]:
    """A finding for each kind of which something was met, told by how much of it there was and by the kind's text."""
    return [Finding(kind, f"{len(met[kind])} {text}", tuple(met[kind])) for kind, text in texts.items() if met[kind]]


def _fitted(scene: Scene, met: dict[str, list[str]]) -> list[Written] | None:
    """The boxes in pixels of the picture as it is, clipped to it; None where they cannot be brought there."""
    header, stated = read_header(scene.source), scene.size
    if header is None:
        met["unreadable-size"].append(str(scene.source))
        return list(scene.boxes)
    size, x, y = header.size, 1.0, 1.0
    if stated is not None and min(stated) > 0 and stated != size:
        told = f"{scene.source} ({size.width}x{size.height}, stated {stated.width}x{stated.height})"
        swapped = stated == Size(size.width, size.height)
        if swapped and header.turned:
            met["sideways"].append(told)
            return None
        met["swapped-size" if swapped else "other-size"].append(told)
        x, y = (1.0, 1.0) if swapped else (size.width / stated.width, size.height / stated.height)
    scaled = [
        box._replace(left=box.left * x, right=box.right * x, top=box.top * y, bottom=box.bottom * y)
        for box in scene.boxes
    ]
    return [clipped for box in scaled if (clipped := _clipped(box, size, met)) is not None]


def _clipped(box: Written, size: Size, met: dict[str, list[str]]) -> Written | None:
    left, right = max(box.left, 0.0), min(box.right, float(size.width))
    top, bottom = max(box.top, 0.0), min(box.bottom, float(size.height))
    told = f"{box.where}: {box.label} {box.left:g}, {box.top:g} to {box.right:g}, {box.bottom:g}"
    if not (box.left < box.right and box.top < box.bottom):  # nor where a side is no number
        met["zero-area"].append(told)
        return None
    if not (left < right and top < bottom):
        met["outside"].append(f"{told} of {size.width}x{size.height}")
        return None
    out = max(left - box.left, top - box.top, box.right - right, box.bottom - bottom)
    if out > _SLACK_PIXELS:
        met["sticks-out"].append(f"{told} of {size.width}x{size.height}")
    return box._replace(left=left, top=top, right=right, bottom=bottom)


def _kept(boxes: Sequence[Written], met: dict[str, list[str]]) -> list[Box]:
    """Without those that say the same again; an ignored one gives way to one that counts."""
    kept: dict[tuple[str, float, float, float, float], Written] = {}
    for box in boxes:
        key = (box.label, box.left, box.top, box.right, box.bottom)
        if key in kept:
            met["repeated-box"].append(f"{box.where}: {box.label}")
        if key not in kept or kept[key].ignored:
            kept[key] = box
    return [Box(one.label, 1.0, *one[2:6], ignored=one.ignored) for one in kept.values()]
