"""Which file is the mask of which picture, by their names and the folders that they lie in.

Knows words that people use for masks and for pictures; opens no file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from foveal.formats._files import Folder, nfc

_MASKS = (
    "masks", "mask", "labels", "label", "labelled", "annotations", "annotation", "annots", "annot", "gt", "gtfine",
    "groundtruth", "ground_truth", "ground-truth", "segmentations", "segmentation", "seg", "segs",
    "segmentationclass", "segmentationclassaug", "targets", "target", "lbl", "truth", "manual", "1st_manual",
)  # fmt: skip
_PICTURES = (
    "images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "inputs", "input", "originals", "original",
    "rgb", "raw", "frames", "leftimg8bit", "sat",
)  # fmt: skip
# Beside the masks proper: the same in other colours, or by instance.
_OTHERS = ("segmentationobject", "segmentationclassvisualization", "visualization", "instances", "overlays")

_ENDING_OF_FOLDER = re.compile(rf"^(.+?)[ _-]?(?:{'|'.join(_MASKS[:17])})$", re.IGNORECASE)
_PICTURE_FOLDER = re.compile(rf"^(.+?)[ _-](?:{'|'.join(_PICTURES)})$", re.IGNORECASE)
# `_P` and `_L` are masks in capitals only: `left_l.png` is somebody's left.
_MASK_STEM = re.compile(
    r"^(.+?)(?:[ _.-](?:(?i:masks?|labels?|labelids|seg|segmentation|gt|annotations?|groundtruth|lbl|target"
    r"|gtfine_labelids|manual1|1st_manual)(?:[ _-]?\d+)?|[PL]))$"
)
_MASK_START = re.compile(r"^(?i:mask|label|gt|seg|annotation)[ _-](.+)$")
_PICTURE_STEM = re.compile(r"^(.+?)[ _.-](?i:images?|img|rgb|sat|leftimg8bit|training|input|orig)$")
_PICTURE_START = re.compile(r"^(?i:images?|img|picture|photo|input)[ _-](.+)$")
_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")
_LOSSY = (".jpg", ".jpeg", ".webp")

Key = tuple[tuple[str, ...], str]


class Pairs(NamedTuple):
    """masks: each picture's, several where there is one an object; unmasked: pictures beside them that have none;
    unused: masks without a picture."""

    masks: dict[Path, list[Path]]
    unmasked: list[Path]
    unused: list[Path]


class _Role(NamedTuple):
    """What a name says: a mask, a picture, or (None) nothing; key: the same for both of a pair."""

    is_mask: bool | None
    key: Key


def pair(folders: Iterable[Folder]) -> Pairs:
    """Pictures and their masks: `images/1.png` and `masks/1.png`, `1.jpg` and `1_mask.png`, `1.jpg` and `1.png`."""
    roles: dict[Path, _Role] = {}
    for folder in folders:
        if not any(part.lower() in _OTHERS for part in folder.parts):
            for file in folder.files:
                roles[Path(folder.path, file)] = _role(folder.parts, nfc(Path(file).stem))
    masks, pictures = defaultdict[Key, list[Path]](list), dict[Path, Key]()
    for path, role in roles.items():
        if role.is_mask:
            masks[role.key].append(path)
        else:
            pictures[path] = role.key
    if not masks:
        return _twins(pictures)
    found = _matched(pictures, masks)
    found |= _one_a_thing(pictures, masks, found)
    used = {mask for own in found.values() for mask in own}
    unused = sorted(mask for own in masks.values() for mask in own if mask not in used)
    homes = {picture.parent for picture in found}
    unmasked = sorted(picture for picture in pictures if picture not in found and picture.parent in homes)
    return Pairs(dict(sorted(found.items())), unmasked, unused)


def _role(parts: Sequence[str], stem: str) -> _Role:
    """By the innermost folder that says anything; else by the file's own name."""
    kept, is_mask = list[str](), None
    for part in reversed(parts):
        low = part.lower()
        ending, picture = _ENDING_OF_FOLDER.match(part), _PICTURE_FOLDER.match(part)
        if low in _MASKS or low in _PICTURES:
            is_mask = is_mask if is_mask is not None else low in _MASKS
        elif ending or picture:
            is_mask = is_mask if is_mask is not None else bool(ending)
            kept.append((ending or picture)[1])  # type: ignore[index]
        else:
            kept.append(part)
    of_mask = _MASK_STEM.match(stem) or _MASK_START.match(stem)
    of_picture = _PICTURE_STEM.match(stem) or _PICTURE_START.match(stem)
    if is_mask is None and of_mask:
        is_mask = True
    said = of_mask if is_mask else of_picture
    return _Role(is_mask, (tuple(reversed(kept)), said[1] if said else stem))


def _matched(pictures: Mapping[Path, Key], masks: Mapping[Key, list[Path]]) -> dict[Path, list[Path]]:
    """By the whole key; else by the name alone, where only one mask and one picture have it."""
    by_name, alike = defaultdict[str, list[Path]](list), defaultdict[str, int](int)
    for (_, name), own in masks.items():
        by_name[name] += own
    for _, name in pictures.values():
        alike[name] += 1
    found: dict[Path, list[Path]] = {}
    for picture, key in pictures.items():
        own = masks.get(key) or (by_name.get(key[1], []) if alike[key[1]] == 1 else [])
        if own:
            found[picture] = own
    return found


def _one_a_thing(
    pictures: Mapping[Path, Key], masks: Mapping[Key, list[Path]], found: Mapping[Path, object]
) -> dict[Path, list[Path]]:
    """`7/images/7.png` and `7/masks/*.png`: a picture that is alone in its place, without a mask of its name, has all
    that are there."""
    at, of = defaultdict[tuple[str, ...], list[Path]](list), defaultdict[tuple[str, ...], list[Path]](list)
    for picture, (place, _) in pictures.items():
        at[place].append(picture)
    for (place, _), own in masks.items():
        of[place] += own
    return {
        own[0]: of[place]
        for place, own in at.items()
        if place and len(own) == 1 and own[0] not in found and of[place]
    }


def _twins(pictures: Mapping[Path, Key]) -> Pairs:
    """Where no name says which is which: `1.jpg` and `1.png` in one folder."""
    by_key = defaultdict[Path, list[Path]](list)
    for path in pictures:
        by_key[path.with_suffix("")].append(path)
    found: dict[Path, list[Path]] = {}
    for own in by_key.values():
        lossy = [path for path in own if path.suffix.lower() in _LOSSY]
        lossless = [path for path in own if path.suffix.lower() in _LOSSLESS]
        if len(own) == 2 and len(lossy) == len(lossless) == 1:
            found[lossy[0]] = lossless
    used = {*found, *(mask for own in found.values() for mask in own)}
    unmasked = sorted(path for path in pictures if path not in used) if found else []
    return Pairs(dict(sorted(found.items())), unmasked, [])
