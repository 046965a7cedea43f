"""Tables: a CSV, TSV, JSON-lines or JSON-list file with a row for each file.

Knows which tables of a folder to read and how their rows become entries; never opens what the rows name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foveal.errors import DataError
from foveal.formats._cells import Sheet, normalise, read_sheet
from foveal.formats._columns import GROUP_HINTS, KNOWN_COLUMNS, Columns, check_labels, require_columns
from foveal.formats._dataset import assemble
from foveal.formats._entries import Entry, left_over, settle
from foveal.formats._names import tidy
from foveal.formats._patterns import grouped, is_expression
from foveal.formats._probes import SUFFIXES, Probe, are_splits, chosen_of, probes_of, splits_of
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Example, Finding


class Tables(Format):
    """A table beside the files or anywhere else; several where their names say train, val and test."""

    name = "table"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        probes = probes_of(path, options)
        if not probes:
            return Match(0, "no table (CSV, TSV, JSON lines or JSON list) that names files")
        chosen = chosen_of(probes)
        where = ", ".join(probe.path.name for probe in chosen)
        columns = chosen[0].columns
        if is_expression(options.label) and columns.label is None:
            return Match(0.2, f"{where}: --label is not one of its columns")
        if len(chosen) > 1 and not are_splits(chosen):
            return Match(0.5, f"several tables, and nothing says which one counts: {where}")
        if chosen[0].usable:
            return Match(0.9, f"{where}: column {columns.file!r} names files, column {columns.label!r} labels")
        if columns.found > 0:
            return Match(0.9 if options.label else 0.35, f"{where}: names files, but has no label column")
        if chosen[0].names_columns:
            return Match(0.6, f"{where}: has a file and a label column, but names no file that is there")
        return Match(0.35 if path.is_file() and path.suffix.lower() != ".txt" else 0.05, chosen[0].error)

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        probes = probes_of(path, options)
        if not probes:
            raise DataError(f"{path}: no table found; expected a file ending in {' '.join(SUFFIXES)}.")
        chosen = chosen_of(probes)
        if len(chosen) > 1 and not are_splits(chosen):
            names = "".join(f"\n  {probe.path}" for probe in chosen)
            raise DataError(f"{path}: several tables name files and labels; give the one to use as DATA:{names}")
        return _read(path, chosen, options)


def _read(path: Path, chosen: Sequence[Probe], options: FormatOptions) -> Dataset:
    root = path if path.is_dir() else path.parent
    entries: list[Entry] = []
    findings: list[Finding] = []
    for probe in chosen:
        sheet = read_sheet(probe.path, KNOWN_COLUMNS)
        require_columns(sheet, probe.columns, options)
        rows, told = _entries(sheet, probe.columns)
        entries.extend(rows)
        findings.extend((*sheet.findings, *told))
    names = ", ".join(probe.path.name for probe in chosen)
    where = str(chosen[0].path) if len(chosen) == 1 else f"{chosen[0].path.parent} ({names})"
    if not entries:
        raise DataError(f"{where}: the table has a header but no rows; expected a row for each file.")
    examples, settled = settle(entries, {probe.path.name: probe.finder for probe in chosen}, where)
    findings.extend(settled)
    if path.is_dir():
        findings.extend(
            (*left_over(root, options.suffixes, examples, names), *_against_folders(root, examples, names))
        )
    columns = chosen[0].columns
    expression = options.group if columns.group is None else None
    examples, ungrouped = grouped(root, examples, expression)
    findings.extend(ungrouped)
    layout = f"table {names} (files from column {columns.file!r}, labels from {columns.label!r}"
    layout += f", splits from {columns.split!r}" if columns.split else ""
    layout += f", groups from {columns.group!r}" if columns.group else ""
    layout += f", groups from names by {expression!r})" if expression else ")"
    return assemble(root, layout, examples, findings)


def _entries(sheet: Sheet, columns: Columns) -> tuple[list[Entry], list[Finding]]:
    assert columns.file is not None
    assert columns.label is not None
    files, labels = sheet.column(columns.file), sheet.column(columns.label)
    findings = check_labels(sheet.path, columns.label, labels)
    splits, dropped, told = splits_of(sheet, columns.split)
    groups = sheet.column(columns.group) if columns.group else [""] * len(files)
    hints = [column for column in sheet.header if normalise(column) in GROUP_HINTS]
    if hints and columns.group is None:
        message = f"Column {hints[0]!r} could keep what belongs together in one split; say so with --group {hints[0]}"
        findings.append(Finding("group-hint", message))
    rows = zip([line for line, _ in sheet.rows], files, labels, splits, groups, strict=True)
    entries = [
        Entry(sheet.path.name, line, file, label, split, group or None)
        for at, (line, file, label, split, group) in enumerate(rows)
        if at not in dropped
    ]
    return entries, [*findings, *told]


def _against_folders(root: Path, examples: Sequence[Example], names: str) -> list[Finding]:
    """Where the files lie in folders that are called like classes, the files that the table labels otherwise."""
    labels = {example.label for example in examples}
    homes = [tidy(example.source.parent.name) if example.source.parent != root else "" for example in examples]
    if len(labels & set(homes)) * 2 < len(labels):
        return []
    other = [
        f"{example.source.relative_to(root).as_posix() if example.source.is_relative_to(root) else example.source}"
        f" is {example.label}"
        for example, home in zip(examples, homes, strict=True)
        if home in labels and home != example.label
    ]
    if not other:
        return []
    message = f"{len(other)} files have another label in {names} than their folder says; the table wins"
    return [Finding("table-wins", message, tuple(other))]
