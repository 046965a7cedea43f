"""What data's own lists say of classes: their names by number and by colour, from lines of text, YAML or JSON.

Knows how such lists are written. What pixels mean by them is `_mask_values.py`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from foveal.formats._cells import read_text
from foveal.formats._files import Folder
from foveal.formats._names import tidy

_FILES = re.compile(r"class|codes|label|palette|colou?r|categor|names", re.IGNORECASE)
_LINES, _YAML, _JSON = (".txt", ".csv", ".tsv", ".names"), (".yaml", ".yml"), (".json",)
# JSON is read if it is so called; any YAML, of which there are few.
_JSON_FILES = re.compile(rf"{_FILES.pattern}|meta|config|data|info", re.IGNORECASE)
_MOST_BYTES = 1 << 16
_COLOUR_FIRST = re.compile(r"^\s*(\d{1,3})[ ,;\t]+(\d{1,3})[ ,;\t]+(\d{1,3})[ ,;\t]+(.*\S)\s*$")
_COLOUR_LAST = re.compile(r"^\s*(.*?[^\s,;:])[ ,;:\t]+(\d{1,3})[ ,;\t]+(\d{1,3})[ ,;\t]+(\d{1,3})(?:[ ,;:\t].*|\s*)$")
_NUMBERED = re.compile(r"^\s*(\d{1,3})\s*[:;,=\t ]\s*(.*\S)\s*$")
_NUMBERED_LAST = re.compile(r"^\s*(.*\S)\s*[:;,=\t]\s*(\d{1,3})\s*$")
# Under these keys stand the classes, and in the entry of one its number, its name and its colour.
_CLASSES = ("classes", "names", "class_names", "labels", "categories", "id2label")
_NUMBERS, _NAMES, _COLOURS = (
    ("id", "value", "index", "label_id"),
    ("name", "title", "label"),
    ("color", "colour", "rgb"),
)
_HEXADECIMAL = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """Names by number, and by colour (0xRRGGBB); source: the file that says it; broken: files that could not be
    read."""

    by_number: Mapping[int, str] = field(default_factory=dict)
    by_colour: Mapping[int, str] = field(default_factory=dict)
    source: str = ""
    broken: tuple[str, ...] = ()


def find_names(root: Path, folders: Iterable[Folder], of: Path) -> Named:
    """By the list that lies nearest to this file: in the deepest folder that holds both, else the first in order.
    YAML and JSON, which say many things, count only in such folders, and not outside of the root."""
    broken, least = list[str](), len(Path(os.path.normpath(root)).parts)
    for above, folder in sorted(((_above(own, of), own) for own in folders), key=lambda pair: -pair[0]):
        for file in folder.others:
            path = Path(folder.path, file)
            kind = path.suffix.lower()
            if kind in _LINES and _FILES.search(file):
                read = _named
            elif above >= least and (kind in _YAML or (kind in _JSON and _JSON_FILES.search(file))):
                read = _of_yaml if kind in _YAML else _of_json
            else:
                continue
            if path.stat().st_size > _MOST_BYTES:
                continue
            try:
                found = read(read_text(path)[0])
            except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none, brackets in brackets
                broken.append(f"{path}: {' '.join(str(error).split())}")
                continue
            if found is not None:
                return replace(found, source=file, broken=tuple(broken))
    return Named(broken=tuple(broken))


def _above(folder: Folder, file: Path) -> int:
    """How many parts the folder's path has, if the file lies below it, else 0."""
    own = Path(folder.path).parts
    return len(own) if file.parts[: len(own)] == own else 0


def _named(text: str) -> Named | None:
    """Lines of names, with or without numbers or colours."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    colours = [pair for line in lines if (pair := _coloured(line))]
    if len(colours) >= 2:
        return Named(dict(enumerate(name for _, name in colours)), dict(colours))
    pairs = [(found[1], found[2]) for line in lines if (found := _NUMBERED.match(line))]
    if not pairs:
        pairs = [(found[2], found[1]) for line in lines if (found := _NUMBERED_LAST.match(line))]
    if len(pairs) >= max(1, len(lines) - 1):
        return Named({int(number): tidy(name) for number, name in pairs})
    if any("/" in line or len(line) > 60 for line in lines):
        return None  # a list of files, or prose
    return Named(dict(enumerate(tidy(line) for line in lines))) if lines else None


def _coloured(line: str) -> tuple[int, str] | None:
    first, last = _COLOUR_FIRST.match(line), _COLOUR_LAST.match(line)
    if first and not first[4].isdigit():
        bands, name = first.groups()[:3], first[4]
    elif last:
        bands, name = last.groups()[1:], last[1]
    else:
        return None
    colour = _colour_of([int(band) for band in bands])
    return None if colour is None else (colour, tidy(re.sub(r"^\d+[ ,;:\t]+", "", name)))


def _of_yaml(text: str) -> Named | None:
    values = yaml.safe_load(text)
    return _of_classes(values) if isinstance(values, dict) else None


def _of_json(text: str) -> Named | None:
    """A table under one of the usual keys, or all of it: `{"0": "road"}`, `["road"]`, `[{"id": 0, "name": ...}]`."""
    values = json.loads(text)
    found = _of_classes(values) if isinstance(values, dict) else None
    return found or _of_table(values)


def _of_classes(values: Mapping[Any, Any]) -> Named | None:
    return next((found for key in _CLASSES if (found := _of_table(values.get(key)))), None)


def _of_table(table: object) -> Named | None:
    """Names in a list, by their numbers or with them; None where these are none."""
    rows = (
        list(enumerate(table)) if isinstance(table, list) else list(table.items()) if isinstance(table, dict) else []
    )
    entries = [_entry(number, row) for number, row in rows]
    found = [entry for entry in entries if entry is not None]
    if not found or len(found) < len(entries):
        return None
    colours = {colour: name for _, name, colour in found if colour is not None}
    return Named({number: name for number, name, _ in found}, colours if len(colours) == len(found) else {})


def _entry(key: Any, row: Any) -> tuple[int, str, int | None] | None:
    """Number, name and colour: `7: road`, `"7": {"name": "road"}`, `road: 7`, `{"id": 7, "name": "road"}`."""
    if isinstance(row, dict):
        name = next((row[own] for own in _NAMES if isinstance(row.get(own), str)), None)
        number = next((row[own] for own in _NUMBERS if _is_number(row.get(own))), key)
        colour = next((_colour_of(row[own]) for own in _COLOURS if own in row), None)
    elif _is_number(row) and isinstance(key, str) and not _is_number(key):
        number, name, colour = row, key, None
    else:
        number, name, colour = key, row, None
    return (int(number), tidy(name), colour) if _is_number(number) and isinstance(name, str) and tidy(name) else None


def _is_number(value: Any) -> bool:
    return (type(value) is int and value >= 0) or (isinstance(value, str) and value.isascii() and value.isdigit())


def _colour_of(written: object) -> int | None:
    """0xRRGGBB of `#rrggbb` or three numbers."""
    if isinstance(written, str):
        return int(written[1:], 16) if _HEXADECIMAL.fullmatch(written) else None
    if not isinstance(written, Sequence) or len(written) < 3:
        return None
    bands = written[:3]
    if not all(type(band) is int and 0 <= band <= 255 for band in bands):
        return None
    return bands[0] << 16 | bands[1] << 8 | bands[2]
