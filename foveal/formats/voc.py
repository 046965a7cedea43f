"""Pascal VOC: an XML file a picture, beside it or in Annotations/, with a box for each object.

Knows the elements of such files and the lists in ImageSets/; opens no picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import cast

from foveal.errors import DataError
from foveal.formats._boxes import Scene, Written, counted, finite, gather
from foveal.formats._files import Folder, nfc, walk
from foveal.formats._names import split_word, tidy
from foveal.formats._parts import by_lists
from foveal.formats._xml import Element, read_xml
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Finding, Size

_SUFFIX = ".xml"
_LOOKED_AT = 5
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_TOLD = {
    "broken-annotation": "annotation files cannot be read and are left out",
    "no-picture": "annotation files have no picture and are left out",
    "no-annotation": "pictures have no annotation file and are left out (one without objects would say: nothing)",
    "no-box": "objects have no box and are left out",
    "not-listed": "annotated pictures stand in none of the lists in ImageSets and are left out",
}


class Voc(Format):
    """`Annotations/1.xml` for `JPEGImages/1.jpg`, or both side by side; splits from ImageSets/Main or folders."""

    name = "Pascal VOC"
    labels = "boxes"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        if not path.is_dir():
            return Match(0, "not a folder")
        found = list(islice(_annotations(walk(path, options.suffixes)), _LOOKED_AT))
        if not found:
            return Match(0, "no XML files")
        meant = [one for one in found if _is_annotation(one)]
        if 2 * len(meant) <= len(found):
            return Match(0, f"XML files such as {found[0].name} are no annotations")
        return Match(0.95, f"XML annotations such as {meant[0].name}")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        folders = list(walk(path, options.suffixes))
        found = _Found(path, _pictures(folders))
        for annotation in _annotations(folders):
            found.add(annotation)
        return found.dataset(options)


def _annotations(folders: Iterator[Folder] | Sequence[Folder]) -> Iterator[Path]:
    for folder in folders:
        for name in folder.others:
            if name.lower().endswith(_SUFFIX):
                yield Path(folder.path, name)


def _is_annotation(path: Path) -> bool:
    try:
        return read_xml(path).tag == "annotation"
    except DataError:
        return False


def _pictures(folders: Sequence[Folder]) -> dict[str, list[Path]]:
    """Stem -> the pictures of that name."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for file in folder.files:
            found.setdefault(nfc(Path(file).stem), []).append(Path(folder.path, file))
    return found


@dataclass
class _Found:
    """What has been read below `root` so far."""

    root: Path
    pictures: Mapping[str, list[Path]]
    annotated: dict[Path, tuple[Path, Element]] = field(default_factory=dict)
    met: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in _TOLD})

    def add(self, path: Path) -> None:
        try:
            element = read_xml(path)
        except DataError as error:
            self.met["broken-annotation"].append(str(error))
            return
        if element.tag != "annotation":
            self.met["broken-annotation"].append(f"{path}: its root is <{element.tag}>, expected <annotation>")
            return
        picture = self._picture_of(path, element)
        if picture is None:
            self.met["no-picture"].append(str(path))
        else:
            self.annotated[picture] = path, element

    def dataset(self, options: FormatOptions) -> Dataset:
        lists = self._lists()
        base = self._base()
        scenes = []
        for picture, (path, element) in sorted(self.annotated.items()):
            split = lists.get(nfc(picture.stem)) if lists else self._split_of(picture)
            if lists and split is None:
                self.met["not-listed"].append(str(picture))
                continue
            boxes = [box for one in element.all("object") for box in self._boxes(path, one, base)]
            scenes.append(Scene(picture, boxes, split, _size(element)))
        left = [picture for alike in self.pictures.values() for picture in alike if picture not in self.annotated]
        self.met["no-annotation"] += map(str, sorted(left))
        told = counted(self.met, _TOLD)
        if base == 0:
            told.append(
                Finding("from-zero", "Some sides are 0, so pixels are counted from 0, not from 1 as VOC does")
            )
        layout = "Pascal VOC annotations" + (" (splits from ImageSets)" if lists else "")
        return gather(self.root, layout, scenes, told, options)

    def _picture_of(self, path: Path, element: Element) -> Path | None:
        """The picture of the annotation's name, the nearest one; else the one that it names, which is often stale."""
        named = Path(element.says("filename").replace("\\", "/"))
        for stem in (path.stem, named.stem):
            alike = self.pictures.get(nfc(stem), [])
            if alike:
                return max(alike, key=lambda one: _shared(one, path))
        return None

    def _lists(self) -> dict[str, str]:
        """Stem -> split, by the lists in ImageSets/Main."""
        folders = sorted(folder for folder in self.root.rglob("ImageSets") if folder.is_dir())
        return by_lists(folder / "Main" if (folder / "Main").is_dir() else folder for folder in folders)

    def _split_of(self, picture: Path) -> str | None:
        parts = picture.relative_to(self.root).parts[:-1] if picture.is_relative_to(self.root) else ()
        return next((split for part in parts if (split := split_word(part))), None)

    def _base(self) -> int:
        """What the first pixel is called: 1, as VOC has it, unless some side is 0."""
        sides = (
            finite(box.says(side))
            for _, element in self.annotated.values()
            for one in element.all("object")
            for box in one.all("bndbox")
            for side in _SIDES[:2]
        )
        return 0 if any(side is not None and side < 1 for side in sides) else 1

    def _boxes(self, path: Path, one: Element, base: int) -> Iterator[Written]:
        name, box = tidy(one.says("name")), one.first("bndbox") or one.first("polygon")
        where = f"{path}, line {one.line}"
        sides = _sides(box, base) if box is not None else None
        if sides is None or not name:
            lacks = "name" if sides is not None else "<bndbox> of four numbers"
            self.met["no-box"].append(f"{where}: no {lacks}")
            return
        yield Written(where, name, *sides, ignored=one.says("difficult") == "1")


def _sides(box: Element, base: int) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom; the last pixel is part of the box. None where a number is missing."""
    if box.tag == "polygon":
        xs, ys = ([finite(one.text) for one in box.children if one.tag.startswith(axis)] for axis in "xy")
        known = cast("list[list[float]]", [xs, ys]) if xs and ys and None not in (*xs, *ys) else [[], []]
        corners = [limit(axis, default=None) for limit in (min, max) for axis in known]
    else:
        corners = [finite(box.says(side)) for side in _SIDES]
    if None in corners:
        return None
    left, top, right, bottom = cast("list[float]", corners)
    if not (left < right and top < bottom):  # no area, whatever the first pixel is called
        return left, top, right, bottom
    return left - base, top - base, right, bottom


def _size(element: Element) -> Size | None:
    size = element.first("size")
    sides = (None, None) if size is None else (finite(size.says("height")), finite(size.says("width")))
    return None if None in sides else Size(int(sides[0]), int(sides[1]))  # type: ignore[arg-type]


def _shared(one: Path, other: Path) -> tuple[int, str]:
    """How many folders two paths begin with together; the name breaks ties."""
    same = 0
    for a, b in zip(one.parts, other.parts, strict=False):
        if a != b:
            break
        same += 1
    return same, str(one)
