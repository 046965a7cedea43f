"""Series in files that hold many: UCR's and UEA's archives, tables of rows or of points, arrays of numpy.

Knows which files belong together and what is done about missing numbers; how files are read, `_series_rows.py` says.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from foveal.errors import DataError
from foveal.formats import _series_rows
from foveal.formats._columns import check_labels
from foveal.formats._files import walk
from foveal.formats._held import Held, are_parts, candidates, dataset_of, examples_of
from foveal.formats._names import listed, split_within
from foveal.formats._series_rows import Row
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Example, Finding, Passage

KIND, SERIES = ".series", ("series", "series")
"""Of passages that are series, numpy's .npy of (C, L) float32, and what those are called."""

_ARCHIVES = (".ts", ".arff")
_DEPTH = 2


class _Group(NamedTuple):
    """Files that are read alike, each another split or the only one."""

    files: tuple[Path, ...]
    read: Callable[[Path], list[Row]]
    confidence: float
    why: str


class SeriesFiles(Format):
    """`X_TRAIN.ts`, `X_TRAIN.tsv`, `X.arff`; a CSV whose rows are series, or points of series."""

    name = "series"
    held = KIND

    def detect(self, path: Path, options: FormatOptions) -> Match:
        groups = _groups(path, options)
        return Match(groups[0].confidence, groups[0].why) if groups else Match(0, "no file of series of numbers")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        groups = _groups(path, options)
        if not groups:
            raise DataError(
                f"{path}: no file of series found; expected .ts, .arff, or a table whose rows are numbers."
            )
        group, *others = groups
        if len(group.files) > 1 and not are_parts(group.files):
            names = "".join(f"\n  {file}" for file in group.files[:10])
            raise DataError(f"{path}: several files hold series; give the one to use as DATA:{names}")
        examples, findings = list[Example](), list[Finding]()
        for file in group.files:
            rows = group.read(file)
            findings += check_labels(file, "the label", [row.label for row in rows])
            own, told = _examples(file, rows)
            examples += own
            findings += told
        if others:
            names = [file.name for other in others for file in other.files]
            findings.append(Finding("other-files", f"Other files that hold series are not read: {listed(names)}"))
        names = ", ".join(file.name for file in group.files)
        return dataset_of(path, f"series in {names}", examples, findings, SERIES)


class SeriesArrays(Format):
    """`X` and `y` in one .npz, or `X_train.npy`, `y_train.npy`, `X_test.npy`, `y_test.npy`."""

    name = "arrays of series"
    held = KIND

    def detect(self, path: Path, options: FormatOptions) -> Match:
        found = _arrays(path)
        if not found:
            return Match(0, "no arrays of series with arrays of labels (X and y)")
        return Match(
            0.7, f"arrays of series and labels in {', '.join(dict.fromkeys(one.file.name for one in found))}"
        )

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        examples, findings, found = list[Example](), list[Finding](), _arrays(path)
        for one in found:
            own, told = _examples(one.file, _series_rows.from_arrays(one.file, one.series, one.labels), one.split)
            examples += own
            findings += told
        names = ", ".join(dict.fromkeys(one.file.name for one in found))
        return dataset_of(path, f"arrays of series in {names}", examples, findings, SERIES)


def unlabelled(path: Path, options: FormatOptions) -> list[Passage]:
    """Every series of a file, for predictions; none where it holds none."""
    try:
        suffix = path.suffix.lower()
        if suffix in _ARCHIVES:
            rows = _reader(suffix)(path)
        elif (how := _series_rows.wide(path, options.label, fewest=1)) is not None:
            rows = _series_rows.from_wide(path, how)
        elif (points := _series_rows.long(path, options.label)) is not None:
            rows = _series_rows.from_long(path, points)
        else:
            return []
    except DataError:
        return []
    rows = [Row(row.line, row.values, row.label or "?") for row in rows]
    return [example.source for example in _examples(path, rows)[0] if isinstance(example.source, Passage)]


def to_bytes(values: np.ndarray) -> bytes:
    """(C, L) -> .npy in float32."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values, np.float32), allow_pickle=False)
    return buffer.getvalue()


def _examples(path: Path, rows: Sequence[Row], split: str | None = None) -> tuple[list[Example], list[Finding]]:
    held, filled, bare = list[Held](), list[str](), list[str]()
    for row in rows:
        values, gaps = _without_gaps(row.values)
        if gaps:
            filled.append(f"{path.name}:{row.line}")
        if not values.size:
            bare.append(f"{path.name}:{row.line}")
            continue
        held.append(Held(row.line, to_bytes(values), row.label, split or split_within(path.stem)))
    examples, findings = examples_of(path, held, KIND)
    if filled:
        message = f"{len(filled)} series have gaps, which are filled in a straight line"
        findings.append(Finding("gaps", message, tuple(filled)))
    if bare:
        findings.append(Finding("empty-row", f"{len(bare)} series have no number and are left out", tuple(bare)))
    return examples, findings


def _without_gaps(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """(C, L) without the end that is missing in all channels; and whether others were filled."""
    known = np.isfinite(values)
    there = np.flatnonzero(known.any(0))
    if not len(there):
        return values[:, :0], False
    values, known = values[:, : there[-1] + 1], known[:, : there[-1] + 1]
    if known.all():
        return values, False
    places, found = np.arange(values.shape[1]), values.copy()
    for row, own in zip(found, known, strict=True):
        row[~own] = np.interp(places[~own], places[own], row[own]) if own.any() else 0.0
    return found, True


def _groups(path: Path, options: FormatOptions) -> list[_Group]:
    """Files that hold series, the likeliest first: archives' own formats, then tables."""
    files = candidates(path)
    found = []
    for suffix in _ARCHIVES:
        own = _parts([file for file in files if file.suffix.lower() == suffix])
        if own:
            found.append(_Group(own, _reader(suffix), 0.9, f"{', '.join(file.name for file in own)}: series"))
    tables = _parts([file for file in files if file.suffix.lower() not in _ARCHIVES and _is_table(file, options)])
    if tables:
        names = ", ".join(file.name for file in tables)

        def read_table(file: Path) -> list[Row]:
            how = _series_rows.wide(file, options.label)
            if how is not None:
                return _series_rows.from_wide(file, how)
            points = _series_rows.long(file, options.label)
            if points is None:
                raise DataError(f"{file}: expected rows of numbers, as in {tables[0].name}; found none.")
            return _series_rows.from_long(file, points)

        confidence = 0.78 if len(tables) == 1 or are_parts(tables) else 0.4
        found.append(_Group(tables, read_table, confidence, f"{names}: rows of numbers and a label"))
    # What has a train and a test file comes before what has one of them.
    return sorted(found, key=lambda group: -len({split_within(file.stem) for file in group.files}))


def _reader(suffix: str) -> Callable[[Path], list[Row]]:
    return _series_rows.from_ts if suffix == ".ts" else _series_rows.from_arff


def _parts(files: Sequence[Path]) -> tuple[Path, ...]:
    """Of several sets of splits in one folder, that of the shortest name; else all."""
    named = [file for file in files if split_within(file.stem)]
    if not named:
        return tuple(files)
    shortest: dict[str, Path] = {}
    for file in sorted(named, key=lambda file: (len(file.name), file.name)):
        shortest.setdefault(str(split_within(file.stem)), file)
    return tuple(shortest[split] for split in ("train", "val", "test") if split in shortest)


def _is_table(file: Path, options: FormatOptions) -> bool:
    try:
        how = _series_rows.wide(file, options.label)
        if how is not None:
            return how.label is not None
        points = _series_rows.long(file, options.label)
        return points is not None and points.label is not None
    except DataError:
        return False


class _Arrays(NamedTuple):
    file: Path
    split: str | None
    series: np.ndarray
    labels: np.ndarray


def _arrays(path: Path) -> list[_Arrays]:
    """Arrays of series with labels, of one .npz or of .npy files by name."""
    files = [path] if path.is_file() else []
    if path.is_dir():
        for folder in walk(path, (".npy", ".npz"), depth=_DEPTH):
            if 0 < len(folder.files) <= 12:
                files = [Path(folder.path, name) for name in folder.files]
                break
    found = []
    for file in (one for one in files if one.suffix.lower() == ".npz"):
        try:
            found += _paired(file, _series_rows.arrays_of(file))
        except DataError:
            continue
    by_name = {file.stem.lower(): file for file in files if file.suffix.lower() == ".npy"}
    if by_name and not found:
        try:
            arrays = {name: np.load(file, allow_pickle=False) for name, file in by_name.items()}
        except (ValueError, OSError, EOFError):
            return []
        found = [one._replace(file=by_name[_series_name(one.split, by_name)]) for one in _paired(path, arrays)]
    return found


def _paired(file: Path, arrays: dict[str, np.ndarray]) -> list[_Arrays]:
    found = []
    for split in (None, "train", "val", "test"):
        series = _series_name(split, arrays)
        ends = (f"_{split}", split) if split else ("",)
        labels = next(
            (name for end in ends for name in (f"y{end}", f"labels{end}", f"label{end}") if name in arrays), ""
        )
        if not series or not labels:
            continue
        own = arrays[series]
        is_numbers = own.ndim in (2, 3) and own.dtype.kind in "iuf" and not (own.ndim == 3 and own.dtype == np.uint8)
        if (
            is_numbers
            and len(own) == len(arrays[labels])
            and own.shape[-1] * own.shape[1] >= _series_rows.FEWEST_POINTS
        ):
            found.append(_Arrays(file, split, own, arrays[labels]))
    return found


def _series_name(split: str | None, arrays: dict) -> str:
    ends = (f"_{split}", str(split)) if split else ("",)
    return next((name for end in ends for name in (f"x{end}", f"data{end}", f"series{end}") if name in arrays), "")
