"""Masks drawn over what they are of: each class in its colour, with its name where there is room.

Knows pictures and masks of their size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from foveal.contracts import Canvas
from foveal.targets._events import PLAIN
from foveal.types import VOID

COLOURS = (
    (230, 60, 60), (60, 120, 230), (50, 160, 70), (240, 170, 30), (150, 70, 200), (30, 170, 180), (230, 110, 190),
    (140, 100, 60), (120, 200, 60), (90, 90, 100), (250, 220, 90), (20, 60, 140),
)  # fmt: skip
"""In turns, by class number."""

_TINT = 0.45
# How large names are, as a share of the shorter side and in pixels at least, and how large the mask is in which their
# places are looked for.
_LETTERS, _SMALLEST, _LOOKED_IN = 0.04, 11, 160
# What is nearly as far from the border as can be is where a class is broadest; a name lies in the middle of that.
_DEEP = 0.9
# On colours with a larger sum of red, green and blue letters are dark.
_LIGHT = 430


def tinted(canvas: Canvas, mask: np.ndarray, class_names: Sequence[str]) -> Canvas:
    """The picture with every class but a background tinted, and borders; mask: (H, W) class numbers."""
    colours = np.asarray([COLOURS[kind % len(COLOURS)] for kind in range(VOID + 1)], np.float32)
    plain = np.ones(VOID + 1, bool)
    plain[: len(class_names)] = [name.casefold() in PLAIN for name in class_names]
    strength = np.where(plain, 0.0, _TINT)[mask][:, :, None]
    pixels = np.asarray(canvas.convert("RGB"), np.float32)
    found = pixels + strength * (colours[mask] - pixels)
    border = np.zeros(mask.shape, bool)
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    border[1:] |= mask[1:] != mask[:-1]
    found[border] = 255
    return Pillow.fromarray(np.rint(found).astype(np.uint8))


def called(canvas: Canvas, mask: np.ndarray, class_names: Sequence[str]) -> Canvas:
    """The picture with the name of each class but a background where it is broadest, if that is broader than letters
    are high; the largest first, none over another."""
    drawn = canvas.copy()
    size = max(_SMALLEST, round(_LETTERS * min(canvas.size)))
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=size)
    step = max(1, min(mask.shape) // _LOOKED_IN)
    few, taken = mask[::step, ::step], list[tuple[float, float, float, float]]()
    counts = np.bincount(few.ravel(), minlength=len(class_names))[: len(class_names)]
    for kind in map(int, np.argsort(-counts, kind="stable")):
        if step**2 * counts[kind] < size**2 / 2:  # nor does any that is smaller still have room
            break
        if class_names[kind].casefold() in PLAIN:
            continue
        depth = np.asarray(ndimage.distance_transform_edt(np.pad(few == kind, 1)), float)
        deep = np.argwhere(depth >= _DEEP * depth.max())
        row, column = deep[np.square(deep - deep.mean(0)).sum(1).argmin()].tolist()
        place = (column - 0.5) * step, (row - 0.5) * step
        if 2 * step * depth.max() < size:
            continue
        left, top, right, bottom = pen.textbbox(place, class_names[kind], font=font, anchor="mm")
        # Moved into the picture where it would hang out of it.
        x = place[0] - min(0.0, left - 2) - max(0.0, right + 2 - canvas.width)
        box = (left - 2 + x - place[0], top - 2, right + 2 + x - place[0], bottom + 2)
        if all(box[2] <= o[0] or o[2] <= box[0] or box[3] <= o[1] or o[3] <= box[1] for o in taken):
            taken.append(box)
            colour = COLOURS[kind % len(COLOURS)]
            letters = (20, 20, 20) if sum(colour) > _LIGHT else (255, 255, 255)
            pen.rectangle(box, fill=colour)
            pen.text((x, place[1]), class_names[kind], fill=letters, font=font, anchor="mm")
    return drawn
