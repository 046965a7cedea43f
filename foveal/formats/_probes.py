"""The tables of a folder: which could be meant, which are, and what part of the data each of their rows is in.

Knows headers and the first rows; does not know what labels a table holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from foveal.errors import DataError
from foveal.formats._cells import Sheet, read_sheet
from foveal.formats._columns import KNOWN_COLUMNS, Columns, choose
from foveal.formats._files import DEPTH_AROUND, Finder, walk
from foveal.formats._names import listed, split_within, split_word
from foveal.layouts import FormatOptions
from foveal.types import Finding

SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".txt")
_DEPTH = 2
_MANY = 20
"""More files than this of one table suffix in a folder are data, such as a label file for each picture."""


class Probe(NamedTuple):
    """What the head of a possible table says; `error` where it cannot be read."""

    path: Path
    finder: Finder
    columns: Columns
    error: str = ""
    header: tuple[str, ...] = ()

    @property
    def names_columns(self) -> bool:
        return self.columns.file is not None and self.columns.label is not None

    @property
    def usable(self) -> bool:
        return self.names_columns and self.columns.found > 0


def probes_of(path: Path, options: FormatOptions) -> list[Probe]:
    """Every table that could be meant, nearest to the root first."""
    if path.is_file():
        fits = path.suffix.lower() in SUFFIXES
        return (
            [_probe(path, Finder(path.parent, path.parent, options.suffixes, DEPTH_AROUND), options)] if fits else []
        )
    if not path.is_dir():
        return []
    probes: list[Probe] = []
    for folder in walk(path, options.suffixes, depth=_DEPTH):
        names = [name for name in (*folder.others, *folder.files) if name.lower().endswith(SUFFIXES)]
        for suffix in SUFFIXES:
            alike = [name for name in names if name.lower().endswith(suffix) and not _is_other(name)]
            if len(alike) <= _MANY:
                finder = Finder(path, Path(folder.path), options.suffixes)
                probes.extend(_probe(Path(folder.path, name), finder, options) for name in alike)
    return [probe for probe in probes if probe.columns.file is not None]


def _is_other(name: str) -> bool:
    """Names of tables that are about something else: a contest's answer form, or the classes' names."""
    stem = name.lower().rpartition(".")[0]
    return "submission" in stem or stem in ("classes", "class_names", "label_names", "names")


def _probe(path: Path, finder: Finder, options: FormatOptions) -> Probe:
    try:
        sheet = read_sheet(path, KNOWN_COLUMNS, head=True)
    except DataError as error:
        return Probe(path, finder, Columns(None, None), str(error))
    return Probe(path, finder, choose(sheet, finder, options), f"{path.name}: no column names files", sheet.header)


def chosen_of(probes: Sequence[Probe]) -> list[Probe]:
    """The best tables of the nearest folder; of several, those whose names say a split."""
    ranks = [(probe.usable, probe.columns.found > 0, probe.names_columns) for probe in probes]
    best = [probe for probe, rank in zip(probes, ranks, strict=True) if rank == max(ranks)]
    near = min(len(probe.path.parts) for probe in best)
    same = [probe for probe in best if len(probe.path.parts) == near]
    return [probe for probe in same if split_within(probe.path.stem)] or same


def meant(path: Path, options: FormatOptions, fits: Callable[[Sequence[str]], bool]) -> list[Probe]:
    """The best of the tables whose header fits; empty where none does."""
    found = [probe for probe in probes_of(path, options) if fits(probe.header)]
    return chosen_of(found) if found else []


def are_splits(chosen: Sequence[Probe]) -> bool:
    """Whether each table is another split, in one folder."""
    splits = {split_within(probe.path.stem) for probe in chosen}
    return None not in splits and len(splits) == len(chosen) and len({probe.path.parent for probe in chosen}) == 1


def splits_of(sheet: Sheet, column: str | None) -> tuple[list[str | None], set[int], list[Finding]]:
    """Each row's split, the rows that are in none of the three, and what is to be told about it."""
    fallback = split_within(sheet.path.stem)
    if column is None:
        return [fallback] * len(sheet.rows), set(), []
    cells = sheet.column(column)
    words = [split_word(cell) for cell in cells]
    strange = sorted({cell for cell, word in zip(cells, words, strict=True) if cell and word is None})
    if not strange:
        return [word or fallback for word in words], set(), []
    if not any(words):
        message = f"Column {column!r} does not say train, val or test ({listed(strange)}), so it is not used"
        return [fallback] * len(cells), set(), [Finding("split-values", message)]
    dropped = {at for at, (cell, word) in enumerate(zip(cells, words, strict=True)) if cell and word is None}
    message = (
        f"{len(dropped)} rows are left out: column {column!r} says neither train, val nor test ({listed(strange)})"
    )
    lines = tuple(f"{sheet.path.name}, line {sheet.rows[at][0]}" for at in sorted(dropped))
    return [word or fallback for word in words], dropped, [Finding("split-values", message, lines)]
