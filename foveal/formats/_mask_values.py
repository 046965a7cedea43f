"""What the pixels of mask files mean: values or colours -> class names, as lists of names say, or by themselves.

Knows arrays of values; what lists say of them, `_class_lists.py`. Does not know whose mask a file is.
"""

from __future__ import annotations

import warnings
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow

from foveal.errors import DataError
from foveal.formats._class_lists import Named
from foveal.formats._names import listed
from foveal.headers import FORMATS
from foveal.types import VOID, Finding, Size

BACKGROUND, FOREGROUND = "background", "foreground"
_NO_CLASS = frozenset(
    {"void", "unlabelled", "unlabeled", "ignore", "ignored", "ignore_label", "unknown", "unannotated"}
)
# A file with more values is one whose edges were smoothed or compressed; those that fill less of it are edges.
_MOST_VALUES, _LEAST_SHARE, _MOST_SMOOTHED = 256, 0.005, 0.2
# Of two values and what lies between them: so near counts as one, and so many others at least mean smoothing.
_NEAR, _BETWEEN = 12, 3
# Beside ids below this, 255 is no id.
_LARGEST_ID = 100
_MOST_CLASSES = 254
# Beside ids that are named, 0 is background where so much is 0, or where there is only one such id; else, what little
# there is of it nobody labelled.
_GROUND = 0.1


class Drawn(NamedTuple):
    """One mask file as it is: which of its `values` (gray, palette index, or colour as 0xRRGGBB) each pixel has.

    packed: (H, W) uint8 numbers of values, compressed; smoothed: whether values between them were taken off.
    """

    path: Path
    size: Size
    values: np.ndarray
    counts: np.ndarray
    packed: bytes
    coloured: bool
    smoothed: bool

    def numbers(self) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.size)


def read_mask(path: Path) -> Drawn:
    """Raises DataError where the file is damaged, or has so many values that it is no mask but a picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(path, formats=FORMATS) as image:
                image.load()
                codes, coloured = _codes(image)
    except (OSError, SyntaxError, ValueError, EOFError, Pillow.DecompressionBombError) as error:
        raise DataError(f"{path}: the mask cannot be read ({error})") from None
    values, numbers, counts = _different(codes)
    smoothed = len(values) > _MOST_VALUES
    if smoothed:
        kept = counts >= _LEAST_SHARE * codes.size
        if counts[kept].sum() < (1 - _MOST_SMOOTHED) * codes.size:
            raise DataError(f"{path}: {len(values)} different values, so this is a picture and no mask")
        near = nearest(values, values[kept], coloured)
        values, numbers = values[kept], near[numbers]
        counts = np.bincount(numbers.ravel(), minlength=len(values))
    packed = zlib.compress(numbers.reshape(codes.shape).astype(np.uint8).tobytes(), 1)
    return Drawn(path, Size(*codes.shape), values.astype(np.int64), counts, packed, coloured, smoothed)


def _different(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values that there are in order, which of them each pixel has, and how many pixels each."""
    if codes.min() < 0 or codes.max() >= _MOST_VALUES:
        return np.unique(codes, return_inverse=True, return_counts=True)
    counts = np.bincount(codes.ravel(), minlength=_MOST_VALUES)  # sorting takes twenty times as long
    values = np.flatnonzero(counts)
    numbers = np.zeros(_MOST_VALUES, np.intp)
    numbers[values] = np.arange(len(values))
    return values, numbers[codes], counts[values]


def looks_drawn(path: Path) -> bool:
    """Whether a file could be a mask: few values, or nearly all of it two of them."""
    try:
        found = read_mask(path)
    except DataError:
        return False
    return len(found.values) <= 64 or _is_two(*_totals([found]))


def nearest(values: np.ndarray, among: np.ndarray, coloured: bool) -> np.ndarray:
    """(n,) and (m,) -> (n,): the place of the nearest one, colours by their distance."""
    one, other = (_parts(side) if coloured else side[:, None].astype(np.float32) for side in (values, among))
    found = [
        np.square(part[:, None] - other[None]).sum(2).argmin(1)
        for part in np.array_split(one, max(1, len(one) // 4096))
    ]
    return np.concatenate(found)


def _parts(colours: np.ndarray) -> np.ndarray:
    return np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=1).astype(np.float32)


def _codes(image: Pillow.Image) -> tuple[np.ndarray, bool]:
    """(H, W) values, and whether they are colours: gray, and palette entries by their number, are not."""
    if image.mode in ("P", "L"):
        return np.asarray(image, np.int32), False
    if image.mode == "1":
        return np.asarray(image, np.int32) * 255, False
    if image.mode.startswith("I"):
        return np.asarray(image, np.int64).astype(np.int32), False
    if image.mode in ("F", "LA", "PA"):
        return np.rint(np.asarray(image.convert("F") if image.mode == "F" else image.convert("L"))).astype(
            np.int32
        ), False
    pixels = np.asarray(image.convert("RGBA"), np.int32)
    red, green, blue, alpha = (pixels[..., band] for band in range(4))
    if (red == red.flat[0]).all() and (green == red).all() and (blue == red).all() and (alpha != alpha.flat[0]).any():
        return alpha, False
    if (red == green).all() and (green == blue).all():
        return red, False
    return red << 16 | green << 8 | blue, True


@dataclass
class Meaning:
    """Class of each value, None for void; near: whether a value that is not there counts as the nearest one that is;
    names: of the classes in their order."""

    classes: dict[int, str | None]
    names: list[str]
    findings: list[Finding]
    near: bool = False

    def of(self, drawn: Drawn) -> np.ndarray:
        """(H, W) uint8 class indices, VOID where none counts."""
        known = np.asarray(sorted(self.classes))
        places = nearest(drawn.values, known, drawn.coloured) if self.near else None
        table = np.full(_MOST_VALUES, VOID, np.uint8)
        for number, value in enumerate(drawn.values.tolist()):
            name = self.classes.get(int(known[places[number]]) if places is not None else value)
            table[number] = VOID if name is None else self.names.index(name)
        return table[drawn.numbers()]


def understand(masks: Sequence[Drawn], named: Named) -> Meaning:
    """What all files together say. Raises DataError where some are in colours and others are not, or of more than 254
    classes."""
    kinds = {drawn.coloured for drawn in masks if len(drawn.values) > 1} or {False}
    if len(kinds) > 1:
        one, other = (next(m.path for m in masks if m.coloured is kind) for kind in (True, False))
        if not named.by_colour:
            raise DataError(f"some masks are in colours ({one}), others are not ({other}); expected all alike")
    values, counts = _totals(masks)
    found = _by_colour(values, counts, named) if True in kinds else _by_number(values, counts, named)
    if len(found.names) > _MOST_CLASSES:
        raise DataError(
            f"{len(found.names)} classes in the masks, at most {_MOST_CLASSES} are possible; do the values number "
            f"objects instead of classes?"
        )
    smoothed = [str(drawn.path) for drawn in masks if drawn.smoothed]
    if smoothed:
        message = f"{len(smoothed)} masks have smoothed edges; each of their pixels is taken for the nearest class"
        found.findings.append(Finding("smoothed", message, tuple(smoothed)))
    return found


def _totals(masks: Sequence[Drawn]) -> tuple[np.ndarray, np.ndarray]:
    """All values in order, and how many pixels have each."""
    total: Counter[int] = Counter()
    for drawn in masks:
        total.update(dict(zip(drawn.values.tolist(), drawn.counts.tolist(), strict=True)))
    values = np.asarray(sorted(total), np.int64)
    return values, np.asarray([total[value] for value in values.tolist()], np.int64)


def _is_two(values: np.ndarray, counts: np.ndarray) -> bool:
    """Whether the values are two with smoothed edges between them."""
    if len(values) < 2 + _BETWEEN:
        return False
    ends = (values <= values[0] + _NEAR) | (values >= values[-1] - _NEAR)
    return (
        values[-1] - values[0] > 4 * _NEAR
        and counts[ends].sum() >= (1 - _MOST_SMOOTHED) * counts.sum()
        and (~ends).any()
    )


def _by_number(values: np.ndarray, counts: np.ndarray, named: Named) -> Meaning:
    ids, findings, near = values.tolist(), list[Finding](), False
    if _is_two(values, counts) and len(named.by_number) <= 2:
        ids, near = [ids[0], ids[-1]], True
        message = f"Gray values between {ids[0]} and {ids[1]} are smoothed edges; the nearer of the two is taken"
        findings.append(Finding("smoothed", message))
    listed_names = [named.by_number[number] for number in sorted(named.by_number)]
    marks = {value for value in ids if value}
    if len(ids) <= 2 and len(listed_names) <= 2 and not (marks and marks <= named.by_number.keys()):
        names = [BACKGROUND, *listed_names][-2:] if listed_names else [BACKGROUND, FOREGROUND]
        return _settled(dict(zip(ids, names, strict=False)), names, findings, near)
    void = VOID in ids and VOID not in named.by_number and max(v for v in ids if v != VOID) < _LARGEST_ID
    if void:
        ids.remove(VOID)
    if not named.by_number:
        return _settled({value: str(value) for value in ids}, [str(value) for value in ids], findings, near)
    by_number = dict(named.by_number)
    much = counts[values == 0].sum() >= _GROUND * counts.sum() or len(marks & by_number.keys()) == 1
    if 0 in ids and 0 not in by_number and much:
        by_number, listed_names = {0: BACKGROUND, **by_number}, [BACKGROUND, *listed_names]
        findings.append(
            Finding("ground", f"{named.source} has no name for 0 in the masks; it is called {BACKGROUND}")
        )
    unknown = [value for value in ids if value not in by_number]
    if unknown:
        message = f"Values without a name in {named.source} count as void: {listed([str(v) for v in unknown])}"
        findings.append(Finding("unnamed-value", message))
    return _settled({v: by_number[v] for v in ids if v not in unknown}, listed_names, findings, near)


def _by_colour(values: np.ndarray, counts: np.ndarray, named: Named) -> Meaning:
    """Colours that are named; else those that are frequent, called by their hexadecimal code."""
    if named.by_colour:
        near = nearest(values, np.asarray(list(named.by_colour)), coloured=True)
        known = np.asarray(list(named.by_colour))[near]
        far = np.abs(_parts(values) - _parts(known)).max(1) > _NEAR
        findings = []
        if far.any() and counts[far].sum() >= _LEAST_SHARE * counts.sum():
            shown = listed([f"#{value:06x}" for value in values[far].tolist()])
            message = f"Colours that {named.source} does not name are taken for the nearest one that it does: {shown}"
            findings.append(Finding("unnamed-colour", message))
        return _settled(dict(named.by_colour), list(dict.fromkeys(named.by_colour.values())), findings, near=True)
    kept = counts >= 0.001 * counts.sum() if len(values) > 64 else counts > 0
    colours = values[kept].tolist()
    names = [f"#{value:06x}" for value in colours]
    message = "No file names the classes, so they are called by their colours"
    return _settled(dict(zip(colours, names, strict=True)), names, [Finding("class-names", message)], near=True)


def _settled(classes: Mapping[int, str], names: Sequence[str], findings: list[Finding], near: bool) -> Meaning:
    """Names that mean no class are void."""
    void = {name for name in names if name.casefold() in _NO_CLASS}
    kept = {value: None if name in void else name for value, name in classes.items()}
    return Meaning(kept, list(dict.fromkeys(name for name in names if name not in void)), findings, near)
