"""Signed evidence drawn over a picture: one disc a cell, one scale a report, and the sum that the cells make.

Knows explanations and pictures. Does not know how the cells came about, and never stretches one picture's values to
fill the colour range: "no evidence" must not look as hot as strong evidence. A cell sees its receptive field, so what
is drawn is a mark a cell on the coarsest grid, and nothing finer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from foveal.contracts import Canvas
from foveal.explain.grid import overlaps
from foveal.types import Explanation, Prediction, Size

# Vermilion against blue: told apart with every common colour blindness (Okabe and Ito 2008). The sign is also in the
# shape, full for evidence for and hollow for evidence against, so that a grey print keeps it.
_FOR = np.array([230, 97, 1], np.float32)
_AGAINST = np.array([0, 92, 184], np.float32)
_STRONGEST_ALPHA = 0.82
# The picture under a map loses this share of its own colour, which would otherwise be taken for evidence.
_GREYED = 0.8
# Cells beyond this quantile share the strongest tint: one odd cell would make all others invisible.
_SCALE_QUANTILE = 0.99
_BAND_ROWS = 256
# Pixels from one stripe to the next where places speak against.
_STRIPE = 8
# Of a series so many spans are told apart.
_MOST_SPANS = 48
# Of a text that is drawn: sizes in pixels; below this share of the scale a word is not marked as speaking against.
_WORD_SIZE, _WORD_LINE, _WORD_GAP, _WORD_MARGIN = 14, 22, 6, 8
_SEEN = 0.1


def pooled(explanation: Explanation) -> np.ndarray:
    """All levels summed onto the coarsest grid: (h, w) float32 in the score's unit, the total is preserved.

    A fine cell that lies across several coarse ones is shared out by area. Of a text: (1, words).
    """
    if explanation.words:
        return by_word(explanation)[None]
    height, width = min((level.shape for level in explanation.cells), key=lambda shape: shape[0] * shape[1])
    width = min(width, _MOST_SPANS) if height == 1 else width
    total = np.zeros((height, width), np.float64)
    for level in explanation.cells:
        rows, columns = overlaps(level.shape[0], height), overlaps(level.shape[1], width)
        total += rows @ level.astype(np.float64) @ columns.T
    return total.astype(np.float32)


def by_word(explanation: Explanation) -> np.ndarray:
    """(words,) float32: what each word of a text adds to the score, all levels together."""
    size = explanation.model_size.width
    total = np.zeros(size)
    for level in explanation.cells:
        total += overlaps(level.shape[1], size) @ level[0].astype(np.float64)
    return total[: len(explanation.words)].astype(np.float32)


def contrast(explanation: Explanation) -> Explanation | None:
    """The class minus its runner-up, cell by cell, bias and score likewise; None where there is no runner-up."""
    other = explanation.runner_up
    if other is None:
        return None
    return replace(
        explanation,
        cells=tuple(a - b for a, b in zip(explanation.cells, other.cells, strict=True)),
        bias=explanation.bias - other.bias,
        score=explanation.score - other.score,
        exact=explanation.exact and other.exact,
        runner_up=None,
    )


def shared_scale(explanations: Iterable[Explanation]) -> float:
    """The one magnitude, in the score's unit, that gets the strongest tint in every picture of a report."""
    sizes = [np.abs(pooled(explanation)).ravel() for explanation in explanations]
    scale = float(np.quantile(np.concatenate(sizes), _SCALE_QUANTILE)) if sizes else 0.0
    return scale if scale > 0 else 1.0


def arithmetic(explanation: Explanation, total: str = "logit") -> str:
    """ "bias b + cells c = logit s" with numbers that add up as printed; says so where the cells do not add up."""
    bias, score = round(explanation.bias, 2), round(explanation.score, 2)
    result = f"{total} {_signed(score)}".strip()
    if not explanation.exact:
        cells = sum(float(level.sum(dtype=np.float64)) for level in explanation.cells)
        return f"cells {_signed(cells)}, {result}: this method's cells do not add up to it"
    # The cells take the rounding of the other two, at most 0.01, or the printed sum would be wrong.
    return f"bias {_signed(bias)} + cells {_signed(score - bias)} = {result}"


def overlay(canvas: Canvas, explanation: Explanation, scale: float | None = None) -> Canvas:
    """The evidence over the picture in raw coordinates, as a new picture of the same size.

    Orange, full discs speak for and blue, hollow ones against; opacity is |value| / scale, and equal at and beyond
    it. scale: in the score's unit, shared by all pictures that are shown together; None takes this one's own.
    """
    cells = pooled(explanation)
    scale = shared_scale([explanation]) if scale is None else scale
    if explanation.words:
        return written(explanation, scale, canvas.width)
    strength = np.clip(cells / scale, -1, 1)
    picture = np.asarray(canvas.convert("RGB"))
    drawn = np.empty_like(picture)
    for top in range(0, canvas.height, _BAND_ROWS):  # in bands: 12 million pixels would need a gigabyte at once
        band = slice(top, min(top + _BAND_ROWS, canvas.height))
        drawn[band] = _tint(picture[band], top, strength, explanation.affine, explanation.model_size)
    return Pillow.fromarray(drawn)


def shaded(canvas: Canvas, explanation: Explanation, scale: float) -> Canvas:
    """The explanation's detail over the picture, as a new picture of the same size: places that speak for in orange,
    those that speak against in blue stripes; opacity is |value| / scale, and equal at and beyond it."""
    assert explanation.detail is not None, "there is a detail to be shown"
    size = explanation.model_size
    plane = Pillow.fromarray(explanation.detail.astype(np.float32)).resize(
        (size.width, size.height), Pillow.Resampling.BICUBIC
    )
    strength = np.clip(np.asarray(plane) / scale, -1, 1)
    picture = np.asarray(canvas.convert("RGB"))
    value, _, _ = _looked_up(picture.shape[:2], 0, strength, explanation.affine, size)
    stripes = np.add.outer(np.arange(canvas.height), np.arange(canvas.width)) % _STRIPE < _STRIPE / 2
    alpha = _STRONGEST_ALPHA * np.abs(value) * np.where(value > 0, 1, stripes)
    return Pillow.fromarray(_mixed(picture, alpha, value))


def colour_of(share: float) -> tuple[int, int, int]:
    """What lies behind a word that speaks for (or against, where negative) by this share of the scale."""
    strength = _STRONGEST_ALPHA * min(1.0, abs(share))
    tint = _FOR if share > 0 else _AGAINST
    red, green, blue = (round(255 + strength * (one - 255)) for one in tint.tolist())
    return red, green, blue


def written(explanation: Explanation, scale: float, width: int) -> Canvas:
    """A text with each word on the colour of what it adds; words against are underlined too."""
    font = ImageFont.load_default(size=_WORD_SIZE)
    lines: list[list[tuple[str, float, float, float]]] = [[]]
    x = float(_WORD_MARGIN)
    for word, value in zip(explanation.words, by_word(explanation).tolist(), strict=True):
        shown = word.strip()
        long = font.getlength(shown) + _WORD_GAP
        if lines[-1] and x + long > width - _WORD_MARGIN:
            lines.append([])
            x = float(_WORD_MARGIN)
        lines[-1].append((shown, value / scale, x, long))
        x += long
    sheet = Pillow.new("RGB", (width, len(lines) * _WORD_LINE + 2 * _WORD_MARGIN), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        top = _WORD_MARGIN + number * _WORD_LINE
        for shown, share, left, long in line:
            pen.rectangle((left, top, left + long - 2, top + _WORD_LINE - 3), fill=colour_of(share))
            if share < -_SEEN:
                pen.line((left, top + _WORD_LINE - 3, left + long - 2, top + _WORD_LINE - 3), fill=(0, 60, 140))
            pen.text((left + 2, top + 1), shown, font=font, fill=(20, 20, 20))
    return sheet


def resized(canvas: Canvas, explanation: Explanation, size: Size) -> Explanation:
    """The explanation for this canvas once that is resized to `size`: only the geometry changes."""
    zoom = np.diag([canvas.width / size.width, canvas.height / size.height])
    affine = np.concatenate([explanation.affine[:, :2] @ zoom, explanation.affine[:, 2:]], axis=1)
    return replace(explanation, affine=affine.astype(np.float32))


def legend(values: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0), cell: int = 48) -> Canvas:
    """The discs for these shares of the scale in a row on grey, drawn by the very code that draws the maps."""
    size = Size(cell, cell * len(values))
    row = np.array([values], np.float32)
    affine = np.eye(2, 3, dtype=np.float32)
    key = Explanation("legend", Prediction(), (row,), 0.0, float(row.sum()), True, affine, size)
    return overlay(Pillow.new("RGB", (size.width, size.height), (188, 188, 188)), key, scale=1.0)


def _tint(rows: np.ndarray, top: int, strength: np.ndarray, affine: np.ndarray, size: Size) -> np.ndarray:
    """Tint a band of the picture, (b, W, 3) uint8, whose first row is row `top`."""
    value, across, down = _looked_up(rows.shape[:2], top, strength, affine, size)
    radius = np.hypot(across - 0.5, down - 0.5)
    alpha = _STRONGEST_ALPHA * np.abs(value) * np.where(value > 0, _disc(radius), _ring(radius))
    return _mixed(rows, alpha, value)


def _looked_up(
    shape: tuple[int, ...], top: int, strength: np.ndarray, affine: np.ndarray, size: Size
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each pixel (b, W) of rows from `top` on: what the cell (h, w) in which it lies has, 0 outside; and where in
    that cell it lies, across and down."""
    height, width = strength.shape
    x, y = np.arange(shape[1]) + 0.5, np.arange(top, top + shape[0])[:, None] + 0.5
    u = (affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]) * (width / size.width)
    v = (affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]) * (height / size.height)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    column, row = np.clip(u.astype(int), 0, width - 1), np.clip(v.astype(int), 0, height - 1)
    return np.where(inside, strength[row, column], 0), u - column, v - row


def _mixed(rows: np.ndarray, alpha: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(b, W, 3) uint8, greyed, under so much of the colour of what speaks for or against."""
    tint = np.where((value > 0)[..., None], _FOR, _AGAINST)
    colour = rows.astype(np.float32)
    grey = colour @ np.array([0.299, 0.587, 0.114], np.float32)
    base = colour + _GREYED * (grey[..., None] - colour)
    return np.rint(base + alpha[..., None] * (tint - base)).astype(np.uint8)


def _disc(radius: np.ndarray) -> np.ndarray:
    return 1 - _step(radius, 0.34, 0.47)


def _ring(radius: np.ndarray) -> np.ndarray:
    return (1 - _step(radius, 0.38, 0.47)) * (0.3 + 0.7 * _step(radius, 0.14, 0.28))


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
