"""COCO: a JSON file with images, annotations and categories, anywhere below the folder; one a split, or one for all.

Knows the keys of such files; opens no picture. Ids stay here.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from foveal.errors import DataError
from foveal.formats._boxes import Scene, Written, counted, gather
from foveal.formats._dataset import assemble
from foveal.formats._files import DEPTH_AROUND, Finder, has_suffix, walk
from foveal.formats._mask_values import BACKGROUND
from foveal.formats._names import listed, split_within, split_word, tidy
from foveal.formats._outlines import Outline, painted, without_empty_ground
from foveal.formats._patterns import grouped
from foveal.headers import read_header
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Example, Finding, Mask, Size

_SUFFIX = ".json"
_LOOKED_AT_BYTES = 1 << 16
_KEYS = ("images", "annotations", "categories")
_TOLD = {
    "missing-file": "pictures are named but not there (or of another kind) and are left out",
    "unlabelled": "pictures stand in no annotation file and are left out (one without objects would be listed)",
    "repeated-picture": "pictures are listed more than once; their annotations are put together",
    "no-box": "annotations have neither a box nor an outline of numbers and are left out",
    "unknown-id": "annotations name a picture or a category that is not declared and are left out",
    "crossing-picture": "pictures are listed in several splits and are kept in the held-out one only",
}


_NO_OUTLINE = "annotations have no outline that can be drawn (only a box, or a damaged one) and are left out"


class Coco(Format):
    """`annotations/instances_train.json`, `train/_annotations.coco.json`, or any such file; crowds are ignored."""

    name = "COCO"
    labels = "boxes"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        files = _files(path, options)
        if not files:
            return Match(0, "no JSON file with images, annotations and categories")
        return Match(0.95, f"COCO annotations in {listed([file.name for file in files], 3)}")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        root = path if path.is_dir() else path.parent
        files = _files(path, options)
        if not files:
            raise DataError(f"{path}: no COCO file; expected JSON with images, annotations and categories.")
        found = _Found(root, options, None if path.is_dir() else DEPTH_AROUND)
        for file in files:
            found.add(file)
        return found.dataset(files)


class CocoMasks(Format):
    """The same files, of which the outlines are wanted instead of the boxes: every pixel is of the smallest object
    there, else background. Only where a task asks for masks."""

    name = "COCO outlines"
    labels = "masks"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        if options.labels != self.labels:
            return Match(0, "outlines of COCO annotations are read only where masks are asked for (--task segment)")
        return Coco().detect(path, options)

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        root = path if path.is_dir() else path.parent
        found = _Found(root, options, None if path.is_dir() else DEPTH_AROUND, outlined=True)
        files = _files(path, options)
        if not files:
            raise DataError(f"{path}: no COCO file; expected JSON with images, annotations and categories.")
        for file in files:
            found.add(file)
        return found.masks(files)


def _files(path: Path, options: FormatOptions) -> list[Path]:
    """Those with boxes: beside `instances_*.json` stand keypoints, captions and panoptic files in COCO itself."""
    if path.is_file():
        return [path] if path.suffix.lower() == _SUFFIX and _is_coco(path) else []
    if not path.is_dir():
        return []
    names = [
        Path(folder.path, name)
        for folder in walk(path, options.suffixes)
        for name in folder.others
        if name.lower().endswith(_SUFFIX)
    ]
    found = [name for name in names if _is_coco(name)]
    return [name for name in found if name.name.startswith("instances")] or found


def _is_coco(path: Path) -> bool:
    """By its beginning and end: whole files can be large."""
    try:
        with path.open("rb") as file:
            text = file.read(_LOOKED_AT_BYTES)
            file.seek(0, 2)
            if file.tell() > _LOOKED_AT_BYTES:
                file.seek(max(_LOOKED_AT_BYTES, file.tell() - _LOOKED_AT_BYTES))
                text += b" " + file.read()
    except OSError:
        return False
    keys = {key for key in _KEYS if re.search(rb'"%b"\s*:\s*\[' % key.encode(), text)}
    return text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and len(keys) >= 2


@dataclass
class _Picture:
    """What the files read so far say of one picture."""

    split: str | None
    size: Size | None
    boxes: list[Written] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)


class _Found:
    """What has been read so far. outlined: whether outlines are kept too."""

    def __init__(self, root: Path, options: FormatOptions, depth: int | None, *, outlined: bool = False) -> None:
        self.root, self.options, self.depth, self.outlined = root, options, depth, outlined
        self.pictures: dict[Path, _Picture] = {}
        self.names: dict[str, None] = {}
        self.above: set[str] = set()
        self.met: dict[str, list[str]] = {kind: [] for kind in _TOLD}

    def add(self, path: Path) -> None:
        """Raises DataError where the file is no such JSON."""
        whole = _loaded(path)
        categories = self._categories(path, whole["categories"])
        pictures = self._pictures(path, whole["images"])
        for number, one in enumerate(whole["annotations"]):
            where = f"{path}, annotation {number + 1}" + (f" (id {one['id']})" if "id" in one else "")
            picture, name = pictures.get(one.get("image_id")), categories.get(one.get("category_id"))
            if one.get("image_id") not in pictures or name is None:
                self.met["unknown-id"].append(where)
            elif picture is not None:
                self._annotate(picture, one, name, where)

    def dataset(self, files: Sequence[Path]) -> Dataset:
        scenes = [Scene(path, own.boxes, own.split, own.size) for path, own in self.pictures.items()]
        declared, told = self._told()
        return gather(self.root, self._layout(files), scenes, told, self.options, declared)

    def masks(self, files: Sequence[Path]) -> Dataset:
        """Of outlines instead of boxes."""
        self.met["no-box"] = []
        declared, told = self._told()
        names, without = [BACKGROUND, *(name for name in declared if name != BACKGROUND)], list[str]()
        whole = {path: _painted(path, own, names, without) for path, own in self.pictures.items()}
        names, whole = without_empty_ground(names, whole)
        examples = [Example(path, Mask.of(array, names), self.pictures[path].split) for path, array in whole.items()]
        examples, ungrouped = grouped(self.root, examples, self.options.group)
        told += [*ungrouped, *counted({"no-outline": without}, {"no-outline": _NO_OUTLINE})]
        return assemble(self.root, self._layout(files), examples, told, names, unit="mask")

    def _told(self) -> tuple[list[str], list[Finding]]:
        """The classes, and what is to be told of the files."""
        used = Counter(box.label for picture in self.pictures.values() for box in picture.boxes)
        dropped = sorted(name for name in self.names if name in self.above and not used[name])
        declared = [name for name in self.names if name not in dropped]
        if self.root.is_dir() and self.depth is None:
            known = {str(path) for path in self.pictures}
            there = (str(Path(f.path, name)) for f in walk(self.root, self.options.suffixes) for name in f.files)
            self.met["unlabelled"] += sorted(name for name in there if name not in known)
        told = counted(self.met, _TOLD)
        if dropped:
            message = f"Categories that only stand above others and have no box are no classes: {listed(dropped)}"
            told.append(Finding("super-category", message))
        return declared, told

    def _layout(self, files: Sequence[Path]) -> str:
        where = listed([file.relative_to(self.root).as_posix() for file in files], 3)
        return f"COCO {'outlines' if self.outlined else 'annotations'} {where}"

    def _categories(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> dict[object, str]:
        """Id -> name, in the order of the ids."""
        by_id: dict[object, str] = {}
        for number, one in enumerate(sorted(rows, key=lambda one: str(one.get("id")).zfill(12)), 1):
            name = tidy(str(one.get("name", "")))
            if not name or "id" not in one:
                raise DataError(f"{path}, category {number}: expected an id and a name, found {dict(one)!r:.80}.")
            if one["id"] in by_id and by_id[one["id"]] != name:
                both = f"{by_id[one['id']]!r} and {name!r}"
                raise DataError(
                    f"{path}: category id {one['id']} stands for both {both}; give each an id of its own."
                )
            by_id[one["id"]] = name
            self.names.setdefault(name)
            self.above |= {tidy(str(one.get("supercategory", "")))} - {name}
        return by_id

    def _pictures(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> dict[object, _Picture | None]:
        """Id -> picture; None where its file is not there."""
        finder = Finder(self.root, path.parent, self.options.suffixes, self.depth)
        split = self._split_of(path)
        by_id: dict[object, _Picture | None] = {}
        for number, one in enumerate(rows, 1):
            written = str(one.get("file_name", ""))
            found = finder.find(written)
            if found is None or not has_suffix(found, self.options.suffixes):
                self.met["missing-file"].append(f"{path}, image {number}: {written}")
                by_id.setdefault(one.get("id"), None)
                continue
            own = self.pictures.get(Path(found))
            if own is None:
                own = self.pictures[Path(found)] = _Picture(split, _size(one))
            elif own.split != split:
                self.met["crossing-picture"].append(f"{path}, image {number}: {written}")
                own.split = min(own.split, split, key=("test", "val", "train", None).index)
            elif one.get("id") not in by_id:
                self.met["repeated-picture"].append(f"{path}, image {number}: {written}")
            by_id[one.get("id")] = own
        return by_id

    def _split_of(self, path: Path) -> str | None:
        """By the file's name, else by the folders that it lies in."""
        parts = path.relative_to(self.root).parts[:-1]
        words = (split_word(part) for part in reversed(parts))
        return split_within(path.stem) or next((word for word in words if word), None)

    def _annotate(self, picture: _Picture, one: Mapping[str, Any], name: str, where: str) -> None:
        sides = _sides(one)
        if sides is None:
            self.met["no-box"].append(where)
        else:
            picture.boxes.append(Written(where, name, *sides, ignored=bool(one.get("iscrowd"))))
        if self.outlined:
            picture.outlines.append(Outline(where, name, one.get("segmentation")))


def _painted(path: Path, picture: _Picture, names: Sequence[str], without: list[str]) -> np.ndarray:
    """(H, W) uint8 at the picture's own size: the largest objects first, so that smaller ones lie on top."""
    header, stated = read_header(path), picture.size
    actual = header.size if header is not None else stated or Size(1, 1)
    size = stated if stated is not None and min(stated) > 0 else actual
    array = painted(picture.outlines, size, names, without)
    if size == actual:
        return array
    return np.asarray(Pillow.fromarray(array).resize((actual.width, actual.height), Pillow.Resampling.NEAREST))


def _loaded(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        whole = json.loads(path.read_bytes().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON: {error.msg}.") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: not JSON: {error}.") from None
    found = {key: whole.get(key) for key in _KEYS} if isinstance(whole, dict) else {}
    for key in _KEYS:
        rows = found.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"{path}: expected a list of objects under {key!r}, as COCO has it.")
    return found  # type: ignore[return-value]


def _sides(one: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of its box, else of its outline; None where neither is made of numbers."""
    box = _numbers(one.get("bbox"))
    if box is not None and len(box) == 4:
        left, top, width, height = box
        return left, top, left + width, top + height
    outline = one.get("segmentation")
    points = [point for part in outline for point in _pairs(part)] if isinstance(outline, list) else []
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _pairs(part: object) -> Iterator[tuple[float, float]]:
    numbers = _numbers(part) or []
    return zip(numbers[::2], numbers[1::2], strict=False)


def _numbers(values: object) -> list[float] | None:
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        return None
    return [float(value) for value in values] if all(math.isfinite(value) for value in values) else None


def _size(one: Mapping[str, Any]) -> Size | None:
    sides = _numbers([one.get("height"), one.get("width")])
    return None if sides is None else Size(int(sides[0]), int(sides[1]))
