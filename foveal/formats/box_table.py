"""Tables of boxes: a CSV, TSV, JSON-lines or JSON-list file with a row for each box.

Knows which columns are sides of boxes; which tables a folder has, and their files and parts, is `_probes.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from foveal.errors import DataError
from foveal.formats._boxes import Scene, Written, counted, finite, gather
from foveal.formats._cells import Sheet, normalise, read_sheet
from foveal.formats._columns import KNOWN_COLUMNS
from foveal.formats._files import walk
from foveal.formats._names import tidy
from foveal.formats._parts import by_folders
from foveal.formats._probes import Probe, are_splits, meant, splits_of
from foveal.headers import read_header
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Finding, Size

_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"), ("left", "top", "right", "bottom"), ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"),
    ("bbox_xmin", "bbox_ymin", "bbox_xmax", "bbox_ymax"),
)  # fmt: skip
_WITH_SIZES = (
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"), ("x", "y", "width", "height"), ("x", "y", "w", "h"),
    ("left", "top", "width", "height"), ("bbox_left", "bbox_top", "bbox_width", "bbox_height"),
)  # fmt: skip
_IN_ONE = ("bbox", "bounding_box", "box")
_PICTURES = (("image_width", "image_height"), ("img_width", "img_height"), ("width", "height"))
_ONLY = "object"
_TOLD = {
    "no-picture": "rows name a picture that is not there and are left out",
    "no-box": "rows have no four numbers for a box and are left out (a row without any says: nothing in the picture)",
    "no-label": "rows have a box without a class and are left out",
    "not-in-table": "pictures stand in no table and are left out (one without objects needs a row without a box)",
}


class _Layout(NamedTuple):
    """columns: of the four numbers, or of all in one; sized: whether the last two are sizes; picture: of its size."""

    columns: tuple[str, ...]
    sized: bool
    picture: tuple[str, str] | None


class BoxTables(Format):
    """A table with a file, a class and four numbers in each row; several where their names say the parts."""

    name = "table of boxes"
    labels = "boxes"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        probes = meant(path, options, _holds_boxes)
        if not probes:
            return Match(0, "no table that has columns for the sides of boxes, such as xmin, ymin, xmax, ymax")
        where = ", ".join(probe.path.name for probe in probes)
        if len(probes) > 1 and not are_splits(probes):
            return Match(0.55, f"several tables of boxes, and nothing says which one counts: {where}")
        if probes[0].columns.found == 0:
            return Match(0.6, f"{where}: has columns for boxes, but names no file that is there")
        return Match(0.93, f"{where}: a row for each box")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        probes = meant(path, options, _holds_boxes)
        if len(probes) > 1 and not are_splits(probes):
            names = "".join(f"\n  {probe.path}" for probe in probes)
            raise DataError(f"{path}: several tables of boxes; give the one to use as DATA:{names}")
        found = _Found(path if path.is_dir() else path.parent)
        for probe in probes:
            found.add(probe)
        if path.is_dir():
            found.leave_over(options)
        return found.dataset(", ".join(probe.path.name for probe in probes), options)


def _holds_boxes(header: Sequence[str]) -> bool:
    return _layout(header) is not None


def _layout(header: Sequence[str]) -> _Layout | None:
    """Where the boxes stand; None where they do not."""
    by_name = {normalise(column): column for column in reversed(header)}
    for kinds, sized in ((_CORNERS, False), (_WITH_SIZES, True), (tuple((name,) for name in _IN_ONE), True)):
        for names in kinds:
            if all(name in by_name for name in names):
                columns = tuple(by_name[name] for name in names)
                pairs = [
                    pair for pair in _PICTURES if all(name in by_name for name in pair) and not {*pair} & {*names}
                ]
                return _Layout(columns, sized, (by_name[pairs[0][0]], by_name[pairs[0][1]]) if pairs else None)
    return None


@dataclass
class _Found:
    """What has been read so far."""

    root: Path
    boxes: dict[Path, list[Written]] = field(default_factory=dict)
    parts: dict[Path, str | None] = field(default_factory=dict)
    sizes: dict[Path, Size] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    met: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in _TOLD})

    def add(self, probe: Probe) -> None:
        sheet = read_sheet(probe.path, KNOWN_COLUMNS)
        layout = _layout(sheet.header)
        assert layout is not None
        assert probe.columns.file is not None
        self.findings += sheet.findings
        parts, dropped, told = splits_of(sheet, probe.columns.split)
        self.findings += told
        labels = self._labels(sheet, probe.columns.label, layout)
        files, sides = sheet.column(probe.columns.file), _numbers(sheet, layout)
        shares = _are_shares([four for four in sides if isinstance(four, tuple)])
        for at, (line, cells) in enumerate(sheet.rows):
            where = f"{sheet.path}, line {line}"
            written = None if at in dropped else probe.finder.find(files[at])
            if written is None:
                if at not in dropped:
                    self.met["no-picture"].append(f"{where}: {files[at] or 'no name'}")
                continue
            picture = Path(written)
            own = self.boxes.setdefault(picture, [])
            self.parts[picture] = parts[at] or self.parts.get(picture) or by_folders(self.root, picture)
            if layout.picture is not None:
                stated = [finite(cells[sheet.header.index(column)]) for column in layout.picture]
                if None not in stated:
                    self.sizes[picture] = Size(int(stated[1]), int(stated[0]))  # type: ignore[arg-type]
            four = sides[at]
            if isinstance(four, str):
                self.met["no-box"].append(f"{where}: {four}")
            elif four is not None and not labels[at]:
                self.met["no-label"].append(where)
            elif four is not None:
                own.append(Written(where, labels[at], *(_scaled(four, picture) if shares else four)))

    def leave_over(self, options: FormatOptions) -> None:
        for folder in walk(self.root, options.suffixes):
            pictures = (Path(folder.path, file) for file in folder.files)
            self.met["not-in-table"] += [str(picture) for picture in pictures if picture not in self.boxes]

    def dataset(self, names: str, options: FormatOptions) -> Dataset:
        scenes = [
            Scene(picture, boxes, self.parts[picture], self.sizes.get(picture))
            for picture, boxes in sorted(self.boxes.items())
        ]
        return gather(
            self.root, f"table of boxes {names}", scenes, [*self.findings, *counted(self.met, _TOLD)], options
        )

    def _labels(self, sheet: Sheet, column: str | None, layout: _Layout) -> list[str]:
        if column is None or column in layout.columns:
            message = f"{sheet.path.name} has no column of classes, so all boxes are of one, {_ONLY!r}"
            self.findings.append(Finding("one-class", message))
            return [_ONLY] * len(sheet.rows)
        return [tidy(cell) for cell in sheet.column(column)]


def _numbers(sheet: Sheet, layout: _Layout) -> list[tuple[float, float, float, float] | str | None]:
    """Left, top, right and bottom of each row; None where it has none; what stands there, where that is no box."""
    if len(layout.columns) == 1:
        rows = list(map(_split, sheet.column(layout.columns[0])))
    else:
        rows = list(zip(*(sheet.column(column) for column in layout.columns), strict=True))
    return [_four(row, layout.sized) for row in rows]


def _split(cell: str) -> Sequence[str]:
    """`[1, 2, 3, 4]`, or four numbers with spaces, commas or bars between them."""
    return cell.strip("[](){} ").replace(",", " ").replace("|", " ").replace(";", " ").split()


def _four(cells: Sequence[str], sized: bool) -> tuple[float, float, float, float] | str | None:
    if not any(cells):
        return None
    found = [finite(cell) for cell in cells]
    if len(found) != 4 or None in found:
        return ", ".join(cells)
    left, top, right, bottom = found
    return (left, top, left + right, top + bottom) if sized else (left, top, right, bottom)  # type: ignore[operator, return-value]


def _are_shares(sides: Sequence[tuple[float, float, float, float]]) -> bool:
    """Whether all are shares of the picture instead of pixels."""
    values = [value for four in sides for value in four]
    return bool(values) and all(0 <= value <= 1 for value in values) and any(value % 1 for value in values)


def _scaled(four: tuple[float, float, float, float], picture: Path) -> tuple[float, float, float, float]:
    header = read_header(picture)
    if header is None:
        return four
    width, height = header.size.width, header.size.height
    return four[0] * width, four[1] * height, four[2] * width, four[3] * height
