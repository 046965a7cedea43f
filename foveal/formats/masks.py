"""Masks: for each picture one of the same name in which every pixel says its class.

Knows how pictures and masks are matched and brought to one size; what the values mean is `_mask_values.py`, and which
file is whose `_mask_names.py`. Masks are decoded here, as other layouts' label files are; pictures are not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow

from foveal.errors import DataError
from foveal.formats._boxes import counted
from foveal.formats._class_lists import find_names
from foveal.formats._dataset import assemble
from foveal.formats._files import Folder, nfc, troubles, walk
from foveal.formats._mask_names import Pairs, pair
from foveal.formats._mask_values import BACKGROUND, Drawn, Meaning, looks_drawn, read_mask, understand
from foveal.formats._parts import by_folders, by_lists
from foveal.formats._patterns import grouped
from foveal.headers import read_header
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import VOID, Dataset, Example, Finding, Mask, Size
from foveal.workers import Workers

_LOOKED_AT = 3
# Below boxes: a folder of Pascal VOC has both, and boxes are what it is mostly used for.
_CONFIDENCE = 0.9
_TOLD = {
    "no-mask": "pictures have no mask and are left out",
    "no-picture": "masks have no picture and are left out",
    "broken-mask": "masks cannot be read and are left out, with their pictures",
    "other-size": "masks have another size than their picture and are scaled to fit",
    "sideways": "masks lie on their side against their picture (its EXIF orientation) and are left out",
    "all-void": "masks have no pixel that counts and are left out",
    "broken-list": "files that may say what the classes are called cannot be read and are passed over",
    "not-listed": "pictures with a mask stand in none of the lists in ImageSets and are left out",
}


class Masks(Format):
    """`images/1.png` and `masks/1.png`, `1.jpg` and `1_mask.png`, `train/` and `trainannot/`, VOC's
    `SegmentationClass`, one file an object."""

    name = "masks"
    labels = "masks"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        if not path.is_dir():
            return Match(0, "not a folder")
        found = pair(walk(path, options.suffixes)).masks
        if not found:
            return Match(0, "no picture has a mask of its name, in masks/ or ending in _mask")
        some = list(found.items())[:: max(1, len(found) // _LOOKED_AT)][:_LOOKED_AT]
        drawn = [(picture, own[0]) for picture, own in some if looks_drawn(own[0])]
        if 2 * len(drawn) <= len(some):
            return Match(0, f"{_below(path, some[0][1][0])} would be a mask by its name, but has too many values")
        picture, mask = drawn[0]
        return Match(_CONFIDENCE, f"masks such as {_below(path, mask)} for {_below(path, picture)}")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        folders = list(walk(path, options.suffixes))
        pairs, lists = pair(folders), by_lists(_homes_of_lists(folders))
        if not pairs.masks:
            raise DataError(f"{path}: no picture has a mask of its name, in masks/ or ending in _mask.")
        met: dict[str, list[str]] = {kind: [] for kind in _TOLD}
        met["no-mask"] += map(str, pairs.unmasked)
        met["no-picture"] += map(str, pairs.unused)
        if lists:
            outside = [picture for picture in pairs.masks if nfc(picture.stem) not in lists]
            met["not-listed"] += map(str, outside)
            pairs = pairs._replace(masks={p: own for p, own in pairs.masks.items() if nfc(p.stem) in lists})
        things = _decoded(pairs, met)
        around = [*folders, *walk(path.parent, options.suffixes, depth=0)]  # of a part, the list lies beside it
        named = find_names(path, around, next(iter(pairs.masks.values()))[0])
        met["broken-list"] += named.broken
        meaning = understand([drawn for thing in things for drawn in thing.drawn], named)
        examples = []
        for thing in things:
            label = _fitted(thing, meaning, met)
            if label is not None:
                split = lists.get(nfc(thing.picture.stem)) or by_folders(path, thing.picture)
                examples.append(Example(thing.picture, label, split))
        examples, ungrouped = grouped(path, examples, options.group)
        findings = [*meaning.findings, *ungrouped, *counted(met, _TOLD), *_about_ids(meaning), *troubles(folders)]
        layout = "masks" + (" (splits from ImageSets)" if lists else "")
        return assemble(path, layout, examples, findings, meaning.names, unit="mask")


class _Thing(NamedTuple):
    picture: Path
    drawn: list[Drawn]


def _decoded(pairs: Pairs, met: dict[str, list[str]]) -> list[_Thing]:
    def read(item: tuple[Path, list[Path]]) -> _Thing | str:
        try:
            return _Thing(item[0], [read_mask(mask) for mask in item[1]])
        except DataError as error:
            return str(error)

    with Workers(os.cpu_count()) as pool:
        found = list(pool.map(read, pairs.masks.items()))
    met["broken-mask"] += [one for one in found if isinstance(one, str)]
    return [one for one in found if not isinstance(one, str)]


def _fitted(thing: _Thing, meaning: Meaning, met: dict[str, list[str]]) -> Mask | None:
    """The mask at the size of its picture; None where it cannot be brought there, or nothing in it counts."""
    header, array = read_header(thing.picture), _together(thing, meaning)
    size = Size(*array.shape)
    if header is not None and size != header.size:
        told = f"{thing.drawn[0].path} ({size.width}x{size.height}, picture {header.size.width}x{header.size.height})"
        if header.turned and size == Size(header.size.width, header.size.height):
            met["sideways"].append(told)
            return None
        met["other-size"].append(told)
        wanted = header.size.width, header.size.height
        array = np.asarray(Pillow.fromarray(array).resize(wanted, Pillow.Resampling.NEAREST))
    if (array == VOID).all():
        met["all-void"].append(str(thing.drawn[0].path))
        return None
    return Mask.of(array, meaning.names)


def _together(thing: _Thing, meaning: Meaning) -> np.ndarray:
    """Of several masks of one picture: what is background in all of them, else what any of them says."""
    whole, *others = (meaning.of(drawn) for drawn in thing.drawn)
    for other in others:
        if other.shape == whole.shape:
            whole = np.where((other > 0) & (other != VOID), other, whole)
    return whole


def _about_ids(meaning: Meaning) -> Iterable[Finding]:
    if all(name.isdigit() for name in meaning.names):
        message = "No file names the classes (such as classes.txt), so they are called by their values in the masks"
        yield Finding("class-names", message)
    elif meaning.names[:1] == [BACKGROUND] and len(meaning.names) == 2:
        low, high = min(meaning.classes), max(meaning.classes)
        yield Finding(
            "two-values", f"The masks have two values; {low} is called {BACKGROUND}, {high} {meaning.names[1]}"
        )


def _homes_of_lists(folders: Sequence[Folder]) -> list[Path]:
    """Those called ImageSets/Segmentation."""
    wanted = ["imagesets", "segmentation"]
    return [Path(folder.path) for folder in folders if [part.lower() for part in folder.parts[-2:]] == wanted]


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
