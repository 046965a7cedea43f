"""Labelled series as they stand in files: UEA's .ts, ARFF, rows of numbers, long tables, arrays.

Knows lines and numbers; which files belong together, `series.py` says. A missing number is NaN here.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from foveal.errors import DataError
from foveal.formats._cells import normalise, parse, read_text
from foveal.formats._columns import LABEL_COLUMNS

FEWEST_POINTS = 8
"""Rows of fewer numbers are rows of a table about something else."""

_MISSING = frozenset({"?", "", "nan", "na", "null", "none"})
_ID_COLUMNS = (
    "id", "series", "series_id", "case", "case_id", "sample", "sample_id", "sequence", "sequence_id", "recording",
    "recording_id", "window", "window_id", "measurement", "instance", "dim_id", "group_id", "row_id", "trial",
)  # fmt: skip
_TIME_COLUMNS = (
    "time", "t", "timestamp", "step", "index", "position", "point", "second", "seconds", "ms", "frame", "time_step",
    "timestep", "measurement_number",
)  # fmt: skip
_SEPARATORS = ("\t", ",", ";", None)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MOST_LABELS = 200


class Row(NamedTuple):
    """One series: the line that it begins on, (C, L) float64, and its label; empty where it has none."""

    line: int
    values: np.ndarray
    label: str


def from_ts(path: Path) -> list[Row]:
    """The format of sktime and aeon: channels separated by colons, the label last."""
    text, labelled, rows, started = read_text(path)[0], True, list[Row](), False
    for line, content in enumerate(text.splitlines(), 1):
        content = content.strip()
        low = content.lower()
        if not content or content[0] in "#%":
            continue
        if not started:
            if low.startswith("@timestamps") and low.split()[1:2] == ["true"]:
                raise DataError(f"{path}, line {line}: series with time stamps are not read; expected equal steps.")
            if low.startswith("@classlabel"):
                labelled = low.split()[1:2] == ["true"]
            started = low.startswith("@data")
            continue
        *channels, label = content.split(":") if labelled else [*content.split(":"), ""]
        if not channels:
            raise DataError(
                f"{path}, line {line}: expected channels and a label separated by colons, found no colon."
            )
        rows.append(Row(line, _stacked([_numbers(path, line, one.split(",")) for one in channels]), label.strip()))
    if not started:
        raise DataError(f"{path}: expected a line @data, after which the series stand; found none.")
    return rows


def from_arff(path: Path) -> list[Row]:
    """Weka's: numbers and the label separated by commas; several channels as one quoted cell, split by `\\n`."""
    rows, started = list[Row](), False
    for line, content in enumerate(read_text(path)[0].splitlines(), 1):
        content = content.strip()
        if not content or content.startswith("%"):
            continue
        if not started:
            started = content.lower().startswith("@data")
            continue
        if content[0] in "'\"":
            inner, _, label = content[1:].rpartition(content[0])
            channels = [_numbers(path, line, one.split(",")) for one in inner.replace("\\n", "\n").split("\n")]
            rows.append(Row(line, _stacked(channels), label.strip(" ,")))
        else:
            *cells, label = content.split(",")
            rows.append(Row(line, _numbers(path, line, cells)[None], label.strip().strip("'\"")))
    if not started:
        raise DataError(f"{path}: expected a line @data, after which the series stand; found none.")
    return rows


class Wide(NamedTuple):
    """How a table of rows of numbers is read: label: the number of its column, None where there is none; header:
    whether the first line names columns; numbers: those that are the series."""

    separator: str | None
    header: bool
    label: int | None
    numbers: tuple[int, ...]


def wide(path: Path, asked: str | None = None, fewest: int = 2) -> Wide | None:
    """Whether each row is a series, and which column its label is; fewest: rows that there have to be."""
    text = read_text(path, head=True)[0]
    for separator in _SEPARATORS:
        table = [cells for _, cells in _cells(text, separator)][:200]
        if len(table) < fewest or len(table[-1]) < FEWEST_POINTS:
            continue
        header = not any(_is_number(cell) for cell in table[0][1:])
        if header and len(table) == 1:
            continue
        found = _columns(table[0] if header else [], table[1:] if header else table, asked)
        if found is not None:
            return Wide(separator, header, *found)
    return None


def from_wide(path: Path, how: Wide) -> list[Row]:
    """A series a line."""
    rows = list[Row]()
    for line, cells in list(_cells(read_text(path)[0], how.separator))[int(how.header) :]:
        picked = [cells[at] for at in how.numbers if at < len(cells)]
        label = "" if how.label is None or how.label >= len(cells) else cells[how.label]
        rows.append(Row(line, _numbers(path, line, picked)[None], _tidy_label(label)))
    return rows


class Long(NamedTuple):
    """How a table with a row for each point is read, by column numbers."""

    separator: str
    series: int
    label: int | None
    channels: tuple[int, ...]


def long(path: Path, asked: str | None = None) -> Long | None:
    """Whether each row is a point of a series."""
    text = read_text(path, head=True)[0]
    for separator in (",", "\t", ";"):
        table = [cells for _, cells in _cells(text, separator)]
        if len(table) < FEWEST_POINTS or not 3 <= len(table[0]) <= 64 or any(map(_is_number, table[0])):
            continue
        names, body = [normalise(name) for name in table[0]], [row for row in table[1:] if len(row) == len(table[0])]
        series = next((names.index(name) for name in _ID_COLUMNS if name in names), None)
        label = _label_at(names, asked)
        if series is None or not body:
            continue
        kinds = len({row[series] for row in body})
        taken = {series, label, *(names.index(name) for name in _TIME_COLUMNS if name in names)}
        channels = [at for at in range(len(names)) if at not in taken and _share([row[at] for row in body]) > 0.95]
        if channels and len(body) >= FEWEST_POINTS * kinds:
            return Long(separator, series, label, tuple(channels))
    return None


def from_long(path: Path, how: Long) -> list[Row]:
    """Rows of one series need not stand together; they are taken in the order that they stand in."""
    points: dict[str, list[tuple[int, list[str]]]] = {}
    for line, cells in list(_cells(read_text(path)[0], how.separator))[1:]:
        points.setdefault(cells[how.series], []).append((line, cells))
    rows = list[Row]()
    for name, own in points.items():
        labels = {cells[how.label] for _, cells in own} if how.label is not None else {""}
        if len(labels) > 1:
            raise DataError(
                f"{path}, line {own[0][0]}: series {name!r} has several labels ({', '.join(sorted(labels)[:4])}); "
                "expected one for all of its points. Labels of points within a series are not supported."
            )
        channels = [_numbers(path, own[0][0], [cells[at] for _, cells in own]) for at in how.channels]
        rows.append(Row(own[0][0], np.stack(channels), _tidy_label(labels.pop())))
    return rows


def from_arrays(path: Path, series: np.ndarray, labels: np.ndarray) -> list[Row]:
    """series: (N, L), (N, C, L) or (N, L, C), the axis of more entries being time; labels: (N,) numbers or names."""
    if series.ndim == 2:
        series = series[:, None]
    if series.ndim != 3 or series.dtype.kind not in "biuf" or labels.ndim != 1 or len(labels) != len(series):
        raise DataError(
            f"{path}: expected numbers (N, L) or (N, C, L) and N labels, found shapes {series.shape} and "
            f"{labels.shape} of types {series.dtype} and {labels.dtype}."
        )
    if series.shape[1] > series.shape[2]:
        series = series.transpose(0, 2, 1)
    names = [_tidy_label(str(label)) for label in labels.tolist()]
    return [
        Row(at, own.astype(np.float64), name) for at, (own, name) in enumerate(zip(series, names, strict=True), 1)
    ]


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz by lower-case name. Raises DataError where it is none, or holds objects."""
    try:
        with np.load(path, allow_pickle=False) as whole:
            return {name.lower(): whole[name] for name in whole.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not arrays that can be read ({error}).") from error


def _cells(text: str, separator: str | None) -> Iterator[tuple[int, list[str]]]:
    """Lines with their numbers, cut into stripped cells; comments and blank lines are none."""
    if separator is None or '"' not in text:
        for line, content in enumerate(text.splitlines(), 1):
            if content.strip() and content.lstrip()[0] not in "#%@":
                yield line, [cell.strip() for cell in content.split(separator)]
        return
    try:
        yield from parse(text, separator)
    except csv.Error:
        return


def _columns(
    header: Sequence[str], body: Sequence[Sequence[str]], asked: str | None
) -> tuple[int | None, tuple] | None:
    """The label's column and those of the numbers; None where the rows are no series."""
    width = max(len(row) for row in body)
    numeric = [at for at in range(width) if _share([row[at] for row in body if at < len(row)]) > 0.95]
    names = [normalise(name) for name in header]
    label = _label_at(names, asked) if header else int(asked) - 1 if asked and asked.isdigit() else None
    if label is None:
        others = [at for at in range(width) if at not in numeric]
        ends = [at for at in (0, width - 1) if _like_labels([row[at] for row in body if at < len(row)])]
        label = others[0] if len(others) == 1 else next(iter(ends), None)
    skipped = {names.index(name) for name in _ID_COLUMNS if name in names} | {label}
    series = tuple(at for at in numeric if at not in skipped)
    if len(series) < FEWEST_POINTS or 2 * len(series) < width:
        return None
    return label, series


def _label_at(names: Sequence[str], asked: str | None) -> int | None:
    wanted = (normalise(asked),) if asked else LABEL_COLUMNS
    return next((names.index(name) for name in wanted if name in names), None)


def _like_labels(cells: Sequence[str]) -> bool:
    """Whole numbers or words of which there are few."""
    whole = all(not _is_number(cell) or float(cell).is_integer() for cell in cells)
    return whole and 2 <= len(set(cells)) <= min(_MOST_LABELS, max(2, len(cells) / 2))


def _share(cells: Sequence[str]) -> float:
    """Of numbers among cells, those that are missing left aside."""
    known = [cell for cell in cells if cell.lower() not in _MISSING]
    return sum(map(_is_number, known)) / len(known) if known else 0.0


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None


def _tidy_label(label: str) -> str:
    """1.0000000e+00 and 1.0 are written 1."""
    label = label.strip()
    if _is_number(label) and float(label).is_integer():
        return str(int(float(label)))
    return label


def _numbers(path: Path, line: int, cells: Sequence[str]) -> np.ndarray:
    """(L,) float64. Raises DataError naming the line and the cell that is no number."""
    try:
        return np.array(cells, np.float64)
    except ValueError:
        pass
    found = np.empty(len(cells))
    for at, cell in enumerate(cells):
        cell = cell.strip()
        if cell.lower() in _MISSING:
            found[at] = np.nan
        elif _is_number(cell):
            found[at] = float(cell)
        else:
            raise DataError(f"{path}, line {line}: expected numbers, found {cell[:40]!r} as number {at + 1}.")
    return found


def _stacked(channels: Sequence[np.ndarray]) -> np.ndarray:
    """(C, L), shorter channels ending in NaN."""
    longest = max(len(own) for own in channels)
    found = np.full((len(channels), longest), np.nan)
    for row, own in zip(found, channels, strict=True):
        row[: len(own)] = own
    return found
