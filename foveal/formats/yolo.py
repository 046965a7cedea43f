"""YOLO: a text file a picture, a line an object: class number, then centre and sides as shares of the picture's.

Knows such lines, where label files lie, and what a data.yaml says of names and splits. Its `download` is never run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from foveal.formats._boxes import Scene, Written, counted, gather
from foveal.formats._cells import read_text
from foveal.formats._dataset import assemble
from foveal.formats._files import Folder, nfc, walk
from foveal.formats._mask_values import BACKGROUND
from foveal.formats._names import listed, natural_key
from foveal.formats._outlines import Outline, painted, without_empty_ground
from foveal.formats._parts import by_folders
from foveal.formats._patterns import grouped
from foveal.formats._yolo_yaml import find_settings
from foveal.headers import read_header
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Example, Finding, Mask, Size

_SUFFIX = ".txt"
_IMAGES, _LABELS = "images", "labels"
_NAME_FILES = (
    "classes.txt",
    "obj.names",
    "_darknet.labels",
    "class_names.txt",
    "names.txt",
    "predefined_classes.txt",
)
_LOOKED_AT = 20
# Share of its lines by which a text file is one of objects.
_ENOUGH = 0.5
# A share can exceed 1 by rounding; numbers above this are pixels.
_LARGEST_SHARE = 2.0
_BOXES = "objects have a box and no outline, and are left out"
_TOLD = {
    "no-label-file": "pictures have no label file and are left out (an empty one would say that nothing is there)",
    "no-picture": "label files have no picture and are left out",
    "bad-line": "lines are no object and are left out; expected a class number and four shares, or an outline",
    "unnamed-class": "objects are of class numbers that have no name; the number is taken for it",
    "confidence": "lines have a sixth number, taken for a confidence and not used",
    "pixels": "label files hold pixels instead of shares of the picture, and are read so",
}


class Yolo(Format):
    """`images/train/1.jpg` and `labels/train/1.txt`, `train/images` and `train/labels`, or both side by side."""

    name = "YOLO"
    labels = "boxes"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        if not path.is_dir():
            return Match(0, "not a folder")
        found = list(islice(_matched(_folders(path, options)), _LOOKED_AT))
        if not found:
            return Match(0, "no text file of the name of a picture")
        shares = {label: share for _, label in found if (share := _share_of_objects(label)) is not None}
        if not shares or 2 * sum(share >= _ENOUGH for share in shares.values()) <= len(shares):
            return Match(0, f"text files such as {found[0][1].name} are no lines of a class number and shares")
        return Match(0.95, f"label files such as {max(shares, key=lambda label: shares[label]).name}")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        pairs, found, findings, layout = _understood(path, options)
        scenes = [Scene(picture, found.boxes(picture, label), split) for picture, label, split in pairs]
        return gather(path, layout, scenes, [*findings, *found.findings()], options, found.declared())


class YoloMasks(Format):
    """The same files, of which the outlines are wanted: every pixel is of the smallest object there, else background.
    Only where a task asks for masks."""

    name = "YOLO outlines"
    labels = "masks"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        if options.labels != self.labels:
            return Match(0, "outlines in YOLO label files are read only where masks are asked for (--task segment)")
        found = Yolo().detect(path, options)
        pairs = islice(_matched(_folders(path, options)), _LOOKED_AT) if found.confidence else ()
        outlined = any(_outlined(line.split()) for _, label in pairs for _, line in _numbered(label))
        return found if outlined or not found.confidence else Match(0, f"{found.why} hold boxes and no outlines")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        pairs, found, findings, layout = _understood(path, options)
        outlines = {picture: found.outlines(picture, label) for picture, label, _ in pairs}
        names = [BACKGROUND, *(name for name in found.declared() if name != BACKGROUND)]
        without: list[str] = []
        whole = {
            picture: painted(own, _size_of(picture), names, without) for picture, own in outlines.items()
        }  # fmt: skip
        names, whole = without_empty_ground(names, whole)
        examples = [Example(picture, Mask.of(whole[picture], names), split) for picture, _, split in pairs]
        examples, ungrouped = grouped(path, examples, options.group)
        told = [*findings, *found.findings(), *ungrouped, *counted({"no-outline": without}, {"no-outline": _BOXES})]
        return assemble(path, f"{layout}, outlines", examples, told, names, unit="mask")


def _understood(
    path: Path, options: FormatOptions
) -> tuple[list[tuple[Path, Path, str | None]], _Found, list[Finding], str]:
    """(picture, label file, split) of each that has one, what is read from them, what is to be told, and the
    layout."""
    folders = _folders(path, options)
    settings = find_settings(folders)
    found = _Found(settings.names or _named(folders), met={kind: [] for kind in _TOLD})
    pairs = dict(_matched(folders))
    pictures = sorted(Path(folder.path, file) for folder in folders for file in folder.files)
    splits, told = settings.splits(path, pictures)
    meant = [one for one in pictures if not splits or one in splits]
    homes = {picture.parent for picture in pairs}  # others hold something else, such as masks
    found.met["no-label-file"] += [str(one) for one in meant if one not in pairs and one.parent in homes]
    found.met["no-picture"] += [str(label) for label in _label_files(folders) if label not in {*pairs.values()}]
    where = f" named in {settings.path.name}" if settings.path else ""
    findings = [*settings.findings, *told]
    left = [str(one) for one in pairs if splits and one not in splits]
    if left:
        message = f"{len(left)} pictures are in none of the splits{where} and are left out"
        findings.append(Finding("not-listed", message, tuple(left)))
    parts = [
        (picture, pairs[picture], splits.get(picture) or by_folders(path, picture))
        for picture in meant
        if picture in pairs
    ]
    return parts, found, findings, f"YOLO label files{where}"


def _folders(path: Path, options: FormatOptions) -> list[Folder]:
    """Of the data; where they hold no picture, those of the folder called images beside them too."""
    folders, beside = list(walk(path, options.suffixes)), path.parent / _IMAGES
    if not any(folder.files for folder in folders) and beside.is_dir():
        folders += walk(beside, options.suffixes)
    return folders


def _matched(folders: Sequence[Folder]) -> Iterator[tuple[Path, Path]]:
    """(picture, its label file): in the folder of labels that mirrors the one of images, else beside it, else the
    only text file of that name in any folder called labels."""
    labels = dict.fromkeys(_label_files(folders))
    by_stem: dict[str, list[Path]] = {}
    for label in labels:
        if _LABELS in (part.lower() for part in label.parts):
            by_stem.setdefault(nfc(label.stem), []).append(label)
    for folder in folders:
        for file in folder.files:
            picture = Path(folder.path, file)
            beside = [one for one in _mirrors(picture) if one in labels]
            alike = by_stem.get(nfc(picture.stem), [])
            found = beside[0] if beside else alike[0] if len(alike) == 1 else None
            if found is not None:
                yield picture, found


def _mirrors(picture: Path) -> Iterator[Path]:
    own = picture.with_suffix(_SUFFIX)
    for at in range(len(own.parts) - 2, -1, -1):
        if own.parts[at].lower() == _IMAGES:
            yield Path(*own.parts[:at], _LABELS, *own.parts[at + 1 :])
    yield own


def _label_files(folders: Sequence[Folder]) -> list[Path]:
    return [
        Path(folder.path, name)
        for folder in folders
        for name in folder.others
        if name.lower().endswith(_SUFFIX) and name.lower() not in _NAME_FILES
    ]


def _share_of_objects(label: Path) -> float | None:
    """Of its lines; None where it has none, which is how a picture of nothing is labelled."""
    lines = [line.split() for line in read_text(label, head=True)[0].splitlines() if line.strip()]
    return sum(_is_object(cells, _numbers(cells)) for cells in lines) / len(lines) if lines else None


def _named(folders: Sequence[Folder]) -> dict[int, str]:
    """Number -> name, by the lines of the nearest file of names."""
    for folder in folders:
        for name in folder.others:
            if name.lower() in _NAME_FILES or name.lower().endswith(".names"):
                lines = read_text(Path(folder.path, name))[0].splitlines()
                return dict(enumerate(line.strip() for line in lines if line.strip()))
    return {}


@dataclass
class _Found:
    """What has been read so far. names: by class number."""

    names: Mapping[int, str]
    met: dict[str, list[str]]
    unnamed: Counter[int] = field(default_factory=Counter)

    def boxes(self, picture: Path, label: Path) -> list[Written]:
        good, size = self._objects(picture, label)
        return [self._box(where, numbers, size) for where, numbers in good]

    def outlines(self, picture: Path, label: Path) -> list[Outline]:
        """In pixels; of an object with nothing but a box there is none."""
        good, size = self._objects(picture, label)
        scale = (size.width, size.height)
        found = []
        for where, numbers in good:
            corners = [value * scale[at % 2] for at, value in enumerate(numbers[1:])] if len(numbers) > 6 else None
            found.append(Outline(where, self._name(where, int(numbers[0])), None if corners is None else [corners]))
        return found

    def _objects(self, picture: Path, label: Path) -> tuple[list[tuple[str, list[float]]], Size]:
        """Where each stands and its numbers, and by what size the latter are multiplied."""
        rows = [(f"{label}, line {number}", line.split()) for number, line in _numbered(label)]
        read = [(where, cells, _numbers(cells)) for where, cells in rows]
        good = [(where, numbers) for where, cells, numbers in read if _is_object(cells, numbers)]
        self.met["bad-line"] += [
            f"{where}: {' '.join(cells):.60}" for where, cells, numbers in read if not _is_object(cells, numbers)
        ]
        if any(max(numbers[1:5]) > _LARGEST_SHARE for _, numbers in good):
            self.met["pixels"].append(str(label))
            return good, Size(1, 1)
        return good, _size_of(picture)

    def _box(self, where: str, numbers: Sequence[float], size: Size) -> Written:
        name = self._name(where, int(numbers[0]))
        if len(numbers) == 6:
            self.met["confidence"].append(where)
        left, top, right, bottom = _sides(numbers[1:] if len(numbers) > 6 else numbers[1:5])
        return Written(where, name, left * size.width, top * size.height, right * size.width, bottom * size.height)

    def _name(self, where: str, kind: int) -> str:
        if kind not in self.names:
            self.unnamed[kind] += 1
            if self.names:
                self.met["unnamed-class"].append(f"{where}: {kind}")
        return self.names.get(kind, str(kind))

    def findings(self) -> list[Finding]:
        told = counted(self.met, _TOLD)
        if not self.names:
            numbers = listed([str(kind) for kind in sorted(self.unnamed)])
            message = f"No file names the classes, so they are called by their numbers: {numbers}"
            told.append(Finding("class-names", message))
        return told

    def declared(self) -> list[str]:
        """The names in the order of their numbers, then those that have none."""
        names = [self.names[kind] for kind in sorted(self.names)]
        return list(dict.fromkeys([*names, *sorted(map(str, self.unnamed), key=natural_key)]))


def _numbered(label: Path) -> Iterator[tuple[int, str]]:
    """The lines of a label file that are not empty, counted from 1."""
    lines = enumerate(read_text(label)[0].splitlines(), 1)
    yield from ((number, line) for number, line in lines if line.strip())


def _outlined(cells: Sequence[str]) -> bool:
    """Whether a line is a class number and the corners of an outline."""
    return len(cells) > 6 and _is_object(cells, _numbers(cells))


def _size_of(picture: Path) -> Size:
    """A pixel where the picture cannot be read."""
    header = read_header(picture)
    return Size(1, 1) if header is None else header.size


def _numbers(cells: Sequence[str]) -> list[float]:
    """As numbers; none at all where one of them is not finite."""
    try:
        found = [float(cell) for cell in cells]
    except ValueError:
        return []
    return found if all(math.isfinite(value) for value in found) else []


def _is_object(cells: Sequence[str], numbers: Sequence[float]) -> bool:
    """A class number, then four sides (and a confidence), or the corners of an outline, at least three."""
    whole = bool(numbers) and numbers[0] >= 0 and numbers[0] == int(numbers[0])
    return whole and (len(cells) in (5, 6) or (len(cells) >= 7 and len(cells) % 2 == 1))


def _sides(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of centre and sides, or of an outline."""
    if len(numbers) > 4:
        xs, ys = numbers[::2], numbers[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    x, y, width, height = numbers
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
