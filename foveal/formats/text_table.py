"""Texts in tables: a CSV, TSV, JSON-lines or JSON file with a row for each text, headers or none.

Knows which tables of a folder to read and how their rows become texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveal.errors import DataError
from foveal.formats import _text_columns
from foveal.formats._cells import Sheet, read_sheet, read_text
from foveal.formats._columns import check_labels
from foveal.formats._held import Held, are_parts, candidates, dataset_of, examples_of, head_of, parts_of, require_one
from foveal.formats._names import listed, split_within, split_word
from foveal.formats._probes import splits_of
from foveal.formats._text_columns import TextColumns
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Example, Finding, Passage

KIND, TEXTS = ".txt", ("text", "texts")
"""Of passages that are texts, and what those are called."""

_FEWEST_ROWS = 4
_BEGINS_PAIRS = re.compile(rb'(\xef\xbb\xbf)?\s*(\[|\{\s*"[^"]*"\s*:\s*\[)\s*\[')


class TextTables(Format):
    """`text,label` with names or without; the texts are in the table."""

    name = "table of texts"
    held = KIND

    def detect(self, path: Path, options: FormatOptions) -> Match:
        found = _tables(path, options)
        if not found:
            return Match(0, "no table with a column of texts and one of labels")
        where = ", ".join(file.name for file, _, _ in found)
        columns = found[0][2]
        shown = f"{where}: texts in column {' and '.join(map(repr, columns.texts))}, labels in {columns.label!r}"
        if len(found) > 1 and not are_parts([file for file, _, _ in found]):
            return Match(0.45, f"several tables of texts, and nothing says which one counts: {where}")
        return Match(0.8 if columns.named or options.text else 0.56, shown)

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        found = _tables(path, options) or _asked_for(path, options)
        if not found:
            raise DataError(f"{path}: no table of texts found; expected columns such as `text` and `label`.")
        require_one(path, [file for file, _, _ in found], "texts")
        examples, findings = list[Example](), list[Finding]()
        for file, _, columns in found:
            sheet = _sheet(file)
            _text_columns.require(sheet, columns, options)
            assert columns.label is not None
            findings += [*sheet.findings, *check_labels(file, columns.label, sheet.column(columns.label))]
            rows, told = _rows(sheet, columns)
            own, more = examples_of(file, rows, KIND)
            examples += own
            findings += [*told, *more]
        columns, names = found[0][2], ", ".join(file.name for file, _, _ in found)
        layout = f"table {names} (texts from column {' and '.join(map(repr, columns.texts))}, labels from"
        layout += f" {columns.label!r}{f', splits from {columns.split!r}' if columns.split else ''})"
        return dataset_of(path, layout, examples, findings, TEXTS)


class TextLists(Format):
    """`{"train": [["text", "label"], ...], "test": ...}`, also with the label first."""

    name = "JSON lists of texts"
    held = KIND

    def detect(self, path: Path, options: FormatOptions) -> Match:
        found = [file for file in candidates(path) if file.suffix.lower() == ".json" and _pairs(file)]
        if not found:
            return Match(0, "no JSON file of [text, label] pairs")
        return Match(0.75, f"{found[0].name}: lists of [text, label] pairs")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        files = [file for file in candidates(path) if file.suffix.lower() == ".json" and _pairs(file)]
        require_one(path, files, "texts")
        if not files:
            raise DataError(f"{path}: no JSON file of [text, label] pairs found.")
        (file,) = files
        pairs = _pairs(file)
        texts_first = _texts_first([pair for rows in pairs.values() for pair in rows])
        rows, skipped, line = list[Held](), list[str](), 0
        for name, own in pairs.items():
            split = split_word(name)
            if split is None and name:
                skipped.append(f"{name} ({len(own)})")
            for pair in own:
                line += 1
                text, label = pair if texts_first else reversed(pair)
                if split is not None or not name:
                    rows.append(Held(line, text.encode(), label, split))
        examples, findings = examples_of(file, rows, KIND)
        if skipped:
            message = f"Lists that say neither train, val nor test are left out: {listed(skipped)}"
            findings.append(Finding("split-values", message))
        return dataset_of(path, f"{file.name} (pairs of a text and a label)", examples, findings, TEXTS)


def unlabelled(path: Path, options: FormatOptions, *, named: bool) -> list[Passage]:
    """Every text of a table, for predictions; none where it is no table with a column of texts. named: only where a
    header, or the options, say which column that is."""
    try:
        sheet = _sheet(path)
    except DataError:
        return []
    columns = _text_columns.choose(sheet, options)
    if not columns.texts or (named and not (columns.said or options.text)):
        return []
    rows, _ = _rows(sheet, _unlabelled_columns(columns))
    return [Passage(path, row.line, row.content, KIND) for row in rows if row.content]


def _unlabelled_columns(columns: TextColumns) -> TextColumns:
    """The same for rows whose labels do not matter."""
    return columns._replace(label=None, split=None, group=None)


def _tables(path: Path, options: FormatOptions) -> list[tuple[Path, Sheet, TextColumns]]:
    found = []
    for file in parts_of(candidates(path)):
        if file.suffix.lower() == ".json" and _pairs(file):
            continue
        try:
            sheet = _sheet(file, head=True)
        except DataError:
            continue
        columns = _text_columns.choose(sheet, options)
        if columns.texts and columns.label and len(sheet.rows) >= _FEWEST_ROWS:
            found.append((file, sheet, columns))
    return found


def _asked_for(path: Path, options: FormatOptions) -> list[tuple[Path, Sheet, TextColumns]]:
    """The table that was given itself, so that what it lacks can be said."""
    if not path.is_file():
        return []
    sheet = _sheet(path, head=True)
    return [(path, sheet, _text_columns.choose(sheet, options))]


def _sheet(path: Path, head: bool = False) -> Sheet:
    """The table; where it has no header, columns are numbered and the first line is a row."""
    sheet = read_sheet(path, _text_columns.KNOWN, head)
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson") or not _text_columns.is_row(sheet.header):
        return sheet
    names = tuple(f"column {at}" for at in range(1, len(sheet.header) + 1))
    return replace(sheet, header=names, rows=((1, sheet.header), *sheet.rows))


def _rows(sheet: Sheet, columns: TextColumns) -> tuple[list[Held], list[Finding]]:
    count = len(sheet.rows)
    texts = zip(*(sheet.column(name) for name in columns.texts), strict=True)
    labels = sheet.column(columns.label) if columns.label else [""] * count
    groups = sheet.column(columns.group) if columns.group else [""] * count
    splits, dropped, findings = splits_of(sheet, columns.split)
    splits = [split or split_within(sheet.path.name) for split in splits]
    lines = [line for line, _ in sheet.rows]
    rows = [
        Held(line, "\n".join(cell for cell in cells if cell).encode(), label, split, group)
        for at, (line, cells, label, split, group) in enumerate(
            zip(lines, texts, labels, splits, groups, strict=True)
        )
        if at not in dropped
    ]
    return rows, findings


def _pairs(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Split name, "" where there is none -> pairs of strings; empty where the file holds something else."""
    if _BEGINS_PAIRS.match(head_of(path)) is None:  # others may be large
        return {}
    try:
        value: Any = json.loads(read_text(path)[0])
    except (DataError, ValueError, RecursionError):
        return {}
    lists = value if isinstance(value, dict) else {"": value}
    found = {}
    for name, rows in lists.items():
        if not isinstance(rows, list):
            return {}
        pairs = [(str(row[0]), str(row[1])) for row in rows if isinstance(row, list) and len(row) == 2]
        if len(pairs) < len(rows) or not pairs:
            return {}
        found[str(name)] = pairs
    return found


def _texts_first(pairs: Sequence[tuple[str, str]]) -> bool:
    """Labels are those with fewer values."""
    first, second = (len({pair[at] for pair in pairs}) for at in (0, 1))
    return first >= second
