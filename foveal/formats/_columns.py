"""Which columns of a table are the file, the label, the split and the group; and whether labels are classes at all.

Knows headers and cells; whether a file is there, a `Finder` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from foveal.errors import DataError
from foveal.formats._cells import Sheet, normalise
from foveal.formats._files import Finder, has_suffix
from foveal.formats._patterns import is_expression
from foveal.layouts import FormatOptions
from foveal.types import Finding

FILE_COLUMNS = (
    "file", "path", "image", "file_name", "filename", "img", "image_path", "filepath", "file_path", "image_file",
    "image_name", "imagename", "img_path", "img_name", "picture", "photo", "audio", "sound", "wav", "recording",
    "image_id", "imageid", "id", "name",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "class", "target", "category", "labels", "classes", "class_name", "classname", "label_name", "labelname",
    "category_name", "species", "breed", "diagnosis", "dx", "tag", "y", "class_id", "label_id", "category_id",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "usage", "data_set", "dataset")
GROUP_COLUMNS = ("group", "groups", "group_id")
SOURCE_COLUMNS = ("src_file", "source_file", "fsid")
GROUP_HINTS = (
    "patient",
    "patient_id",
    "subject",
    "subject_id",
    "person",
    "person_id",
    "speaker",
    "speaker_id",
    "site",
)
KNOWN_COLUMNS = frozenset((*FILE_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS, *GROUP_COLUMNS))
_SAMPLE, _MOST_FOLDS = 30, 20


class Columns(NamedTuple):
    """Column names as the header writes them; None where there is none."""

    file: str | None
    label: str | None
    split: str | None = None
    group: str | None = None
    found: float = 0.0
    """Share of sampled cells of the file column that name a readable file."""


def choose(sheet: Sheet, finder: Finder, options: FormatOptions) -> Columns:
    """The file column is one whose cells name files that are there; the others go by their names or the options.

    None of them where the first line is no header, because it names a file.
    """
    if any(has_suffix(cell, finder.suffixes) for cell in sheet.header):
        return Columns(None, None)
    label = _asked(sheet, options.label) if options.label else _first(sheet, LABEL_COLUMNS, ())
    file, found = _file_column(sheet, finder, label)
    group = _asked(sheet, options.group) if options.group else _group_column(sheet, (file, label))
    split = _first(sheet, SPLIT_COLUMNS, (file, label))
    return Columns(file, label, split, group, found)


def _asked(sheet: Sheet, name: str) -> str | None:
    if name in sheet.header:
        return name
    return next((column for column in sheet.header if normalise(column) == normalise(name)), None)


def _first(sheet: Sheet, names: Sequence[str], taken: Sequence[str | None]) -> str | None:
    by_name = {normalise(column): column for column in reversed(sheet.header) if column not in taken}
    return next((by_name[name] for name in names if name in by_name), None)


def _group_column(sheet: Sheet, taken: Sequence[str | None]) -> str | None:
    """One that is called so; else the fold, else the file that a piece was cut from."""
    return _first(sheet, GROUP_COLUMNS, taken) or _folds(sheet) or _first(sheet, SOURCE_COLUMNS, taken)


def _folds(sheet: Sheet) -> str | None:
    """A column that says which fold a row is in, as ESC-50 has it: what is in one belongs together."""
    name = _first(sheet, ("fold", "folds", "fold_id"), ())
    return name if name is not None and 2 <= len(set(sheet.column(name))) <= _MOST_FOLDS else None


def _file_column(sheet: Sheet, finder: Finder, label: str | None) -> tuple[str | None, float]:
    """Known names first; a column of any other name only where nearly all of its cells are files."""
    by_name = {normalise(column): column for column in reversed(sheet.header) if column != label}
    known = [by_name[name] for name in FILE_COLUMNS if name in by_name]
    shares = [(share_found(sheet, column, finder), column) for column in known]
    best = max(shares, key=lambda pair: pair[0], default=(0.0, None))
    if best[0] > 0:
        return best[1], best[0]
    for column in sheet.header:
        if column not in known and column != label and share_found(sheet, column, finder) > 0.8:
            return column, share_found(sheet, column, finder)
    return (known[0] if known else None), 0.0


def share_found(sheet: Sheet, column: str, finder: Finder) -> float:
    """Share of the column's first cells that name a file that is there and has a wanted suffix."""
    cells = [cell for cell in sheet.column(column)[:_SAMPLE] if cell]
    paths = [finder.find(cell) for cell in cells]
    return sum(path is not None and has_suffix(path, finder.suffixes) for path in paths) / max(1, len(cells))


def require_columns(sheet: Sheet, columns: Columns, options: FormatOptions) -> None:
    """Raises DataError that lists the header where a column that is needed, or was asked for, is not there.

    Groups may be asked for by an expression too, which is searched in the files' names.
    """
    header = ", ".join(sheet.header)
    searched = is_expression(options.group)
    for option, asked, found, takes in (
        ("--label", options.label, columns.label, "a column's name (a regular expression is for folders)"),
        ("--group", None if searched else options.group, columns.group, "a column's name or a regular expression"),
    ):
        if asked and found is None:
            raise DataError(
                f"{sheet.path}: {option} {asked!r} is not a column of this table; its columns are: {header}. "
                f"For a table {option} takes {takes}."
            )
    if columns.file is None:
        raise DataError(
            f"{sheet.path}: no column with the files' names; expected one called {', '.join(FILE_COLUMNS[:6])} or "
            f"alike, whose cells name files with one of the suffixes {' '.join(options.suffixes)}. Its columns are: "
            f"{header} ({sheet.how})."
        )
    if columns.label is None:
        raise DataError(
            f"{sheet.path}: no label column; expected one called {', '.join(LABEL_COLUMNS[:4])} or alike. "
            f"Its columns are: {header}. Say which one with --label COLUMN."
        )


def check_labels(path: Path, column: str, labels: Sequence[str]) -> list[Finding]:
    """Raises DataError where the labels look continuous or several a file; tells where only some do."""
    filled = [label for label in labels if label]
    reason = _continuous(filled)
    if reason:
        raise DataError(
            f"{path}: column {column!r} looks continuous: {reason} (such as {', '.join(filled[:3])}). "
            "Numbers to be estimated (regression) are not supported; use --label COLUMN to choose another column, "
            "or put ranges of values into classes first."
        )
    several = [label for label in filled if "|" in label or ";" in label]
    if len(several) > 0.5 * len(filled):
        raise DataError(
            f"{path}: column {column!r} looks like several labels a file: {len(several)} of {len(filled)} cells hold "
            f"`|` or `;` (such as {several[0]}). Each file can have one label; use --label COLUMN to choose another "
            "column, or keep one label a cell."
        )
    if several:
        message = (
            f"{len(several)} labels in column {column!r} hold `|` or `;`; each such cell is one class of its own"
        )
        return [Finding("joined-labels", message, tuple(dict.fromkeys(several)))]
    return []


def _continuous(labels: Sequence[str]) -> str | None:
    distinct = set(labels)
    if len(distinct) <= 20:
        return None
    if len(distinct) > 0.9 * len(labels):
        return f"{len(distinct)} different values in {len(labels)} rows"
    numbers = [number for number in map(_number, distinct) if number is not None]
    broken = [number for number in numbers if not number.is_integer()]
    if len(numbers) > 0.95 * len(distinct) and len(broken) > 0.5 * len(numbers):
        return f"{len(broken)} of {len(distinct)} different values are fractions"
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
