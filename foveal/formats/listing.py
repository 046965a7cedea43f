"""List files: `train.txt`, `test.txt` and the like with a path and a label on each line, and no header.

Knows lines of `path label ...` and the file of class names that may lie beside them; never opens what they name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from foveal.errors import DataError
from foveal.formats._cells import normalise, parse, read_text
from foveal.formats._columns import FILE_COLUMNS, check_labels
from foveal.formats._dataset import assemble
from foveal.formats._entries import Entry, left_over, settle
from foveal.formats._files import DEPTH_AROUND, Finder, has_suffix, walk
from foveal.formats._names import split_within, tidy
from foveal.formats._patterns import grouped
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Finding

SUFFIXES = (".txt", ".lst", ".list", ".csv", ".tsv")
CLASS_FILES = (
    "classes.txt", "classes.csv", "labels.txt", "names.txt", "class_names.txt", "label_names.txt", "labels.csv",
    "classes.names",
)  # fmt: skip
_DEPTH = 2
_MANY = 20
_SAMPLE = 20


class Line(NamedTuple):
    """One line of a list file: its number from 1, the path, and the first label after it."""

    number: int
    path: str
    label: str


class Lists(Format):
    """`path label` separated by spaces, tabs, commas or semicolons; of several labels the first counts."""

    name = "list files"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        if options.label is not None:
            return Match(0, "--label is given, but list files have no named columns")
        chosen = _lists(path, options)
        if not chosen:
            return Match(0, "no list file (`path label` lines in train.txt, test.txt or alike)")
        where = ", ".join(name.name for name in chosen)
        if len(chosen) > 1 and not all(split_within(name.stem) for name in chosen):
            return Match(0.5, f"several list files, and nothing says which one counts: {where}")
        return Match(0.85, f"{where}: lines of a path and a label")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        chosen = _lists(path, options)
        if not chosen:
            raise DataError(f"{path}: no list file found; expected lines of `path label` whose files are there.")
        if len(chosen) > 1 and not all(split_within(name.stem) for name in chosen):
            names = "".join(f"\n  {name}" for name in chosen)
            raise DataError(f"{path}: several list files; give the one to use as DATA:{names}")
        return _read(path, chosen, options)


def _read(path: Path, chosen: Sequence[Path], options: FormatOptions) -> Dataset:
    root = path if path.is_dir() else path.parent
    where = ", ".join(name.name for name in chosen)
    lists = {name: read_lines(name, options.suffixes) for name in chosen}
    labels = [line.label for lines in lists.values() for line in lines if line.label]
    findings = check_labels(chosen[0], "the first label", labels)
    names, declared, told = _class_names(chosen[0].parent, root, labels)
    entries = [
        Entry(name.name, line.number, line.path, names.get(line.label, line.label), split_within(name.stem))
        for name, lines in lists.items()
        for line in lines
    ]
    depth = None if path.is_dir() else DEPTH_AROUND
    finders = {name.name: Finder(root, name.parent, options.suffixes, depth) for name in chosen}
    examples, settled = settle(entries, finders, where if len(chosen) > 1 else str(chosen[0]))
    findings.extend((*told, *settled))
    if path.is_dir():
        findings.extend(left_over(root, options.suffixes, examples, where))
    examples, ungrouped = grouped(root, examples, options.group)
    return assemble(root, f"list files {where}", examples, [*findings, *ungrouped], declared)


def _lists(path: Path, options: FormatOptions) -> list[Path]:
    """The list files of the nearest folder that has some; those whose names say a split, where there are any."""
    if path.is_file():
        return [path] if _is_list(path, path.parent, options.suffixes) else []
    if not path.is_dir():
        return []
    for folder in walk(path, options.suffixes, depth=_DEPTH):
        names = [name for name in (*folder.others, *folder.files) if name.lower().endswith(SUFFIXES)]
        paths = [Path(folder.path, name) for name in names]
        if len(paths) > _MANY:
            paths = [name for name in paths if split_within(name.stem)][:_MANY]
        found = [name for name in paths if _is_list(name, path, options.suffixes)]
        found = [name for name in found if name.name not in CLASS_FILES] or found
        if found:
            by_split = [name for name in found if split_within(name.stem)]
            parts = [name for name in by_split if "trainval" not in name.stem.lower()]
            has_train = any(split_within(name.stem) == "train" for name in parts)
            return (parts if has_train else by_split) or found
    return []


def _is_list(path: Path, root: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether its first lines have a path, of which most are there, and a label."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        lines = read_lines(path, suffixes, head=True)[:_SAMPLE]
    except DataError:
        return False
    if not lines or normalise(lines[0].path) in FILE_COLUMNS:
        return False
    finder = Finder(root, path.parent, suffixes, DEPTH_AROUND)
    found = [finder.find(line.path) for line in lines]
    readable = sum(place is not None and has_suffix(place, suffixes) for place in found)
    return 2 * readable > len(lines) and 2 * sum(bool(line.label) for line in lines) > len(lines)


def read_lines(path: Path, suffixes: tuple[str, ...], head: bool = False) -> list[Line]:
    """The lines of a list file; blank ones and those that start with # are no entries. head: the first 64 KiB."""
    text = read_text(path, head)[0]
    written = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for delimiter in (",", "\t", ";"):
        if written and sum(delimiter in line for line in written) > 0.9 * len(written):
            try:
                records = list(parse(text, delimiter))
            except csv.Error as error:
                raise DataError(f"{path}, {error}. Expected `path{delimiter}label` lines.") from None
            rows = [(number, cells) for number, cells in records if not cells[0].startswith("#")]
            return [Line(number, cells[0], cells[1] if len(cells) > 1 else "") for number, cells in rows]
    return _spaced(text, suffixes)


def _spaced(text: str, suffixes: tuple[str, ...]) -> list[Line]:
    """Paths with spaces end at their suffix; a first label that is a number ends at the next space."""
    endings = "|".join(re.escape(suffix) for suffix in suffixes)
    with_suffix = re.compile(rf"(.+?(?:{endings}))(?:\s+(.*))?$", re.IGNORECASE)
    plain = re.compile(r"(\S+)(?:\s+(.*))?$")
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        found = with_suffix.match(line.strip()) or plain.match(line.strip())
        if found is None or found[1].startswith("#"):
            continue
        rest = (found[2] or "").strip()
        first = rest.partition(" ")[0]
        lines.append(Line(number, found[1], first if first.isdecimal() else rest))
    return lines


def _class_names(
    home: Path, root: Path, labels: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...] | None, list[Finding]]:
    """Written label -> class name, and the names in their declared order, where a file beside the list has them."""
    if not labels or not all(label.isdecimal() and len(label) < 10 for label in labels):
        return {}, None, []
    used = {int(label) for label in labels}
    findings = []
    for path in dict.fromkeys(folder / name for folder in (home, root) for name in CLASS_FILES):
        if not path.is_file():
            continue
        by_id = _declared(path, used)
        if by_id is not None:
            spelled = {label: by_id[int(label)] for label in set(labels)}
            return spelled, tuple(by_id[number] for number in sorted(by_id)), findings
        message = f"{path.name} does not name the labels {min(used)} to {max(used)} one by one, so it is not used"
        findings.append(Finding("class-names", message))
    return {}, None, findings


def _declared(path: Path, used: set[int]) -> dict[int, str] | None:
    """Class id -> name, by the file's own ids or by its lines from 0, or from 1 where that alone fits."""
    text = read_text(path)[0]
    try:
        by_id = _from_table(text) if path.suffix == ".csv" else None
    except csv.Error:
        return None
    if by_id is None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        numbered = [re.match(r"(\d{1,9})[\s,:;]+(.+)$", line) for line in lines]
        if lines and all(numbered):
            by_id = {int(found[1]): tidy(found[2]) for found in numbered if found}
        else:
            start = 1 if 0 not in used and max(used) == len(lines) else 0
            by_id = {number: tidy(line.strip('"')) for number, line in enumerate(lines, start)}
    distinct = len(set(by_id.values())) == len(by_id)
    return by_id if used <= by_id.keys() and distinct else None


def _from_table(text: str) -> dict[int, str] | None:
    """A table with a column of ids and one of names, such as `Class Name (str), Class ID (int), ...`."""
    records = [cells for _, cells in parse(text, ",")]
    if len(records) < 2 or len(records[0]) < 2:
        return None
    width = len(records[0])
    columns = [[cells[at] if at < len(cells) else "" for cells in records[1:]] for at in range(width)]
    ids = next((column for column in columns if all(cell.isdecimal() and len(cell) < 10 for cell in column)), None)
    names = next((column for column in columns if not any(cell.isdecimal() for cell in column)), None)
    if ids is None or names is None:
        return None
    return {int(number): tidy(name) for number, name in zip(ids, names, strict=True)}
