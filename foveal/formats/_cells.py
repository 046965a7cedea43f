"""Text files with rows: decoding, delimiters, quotes, line numbers.

Knows CSV, TSV, JSON lines and JSON lists as rows of cells; does not know what the columns mean.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from foveal.errors import DataError
from foveal.types import Finding

DELIMITERS = (",", "\t", ";", "|")
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Sheet:
    """A header and rows under it: (line number from 1, one cell a column). `how` says how it was read."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    how: str
    findings: tuple[Finding, ...] = ()

    def column(self, name: str) -> list[str]:
        at = self.header.index(name)
        return [cells[at] for _, cells in self.rows]


# What is no UTF-8 and has more characters that nobody writes than this share is no text.
_CONTROLS, _MOST_CONTROLS, _LOOKED_AT = frozenset(map(chr, range(32))) - frozenset("\t\n\r\f"), 0.02, 4096


def read_text(path: Path, head: bool = False) -> tuple[str, str]:
    """The text and its encoding: UTF-8 with or without a mark, UTF-16 with one, else latin-1. head: 64 KiB.

    Raises DataError where the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_HEAD_BYTES) if head else file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}.") from None
    if head and len(data) == _HEAD_BYTES:
        data = data[: data.rfind(b"\n") + 1]
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def read_sheet(path: Path, known: frozenset[str], head: bool = False) -> Sheet:
    """Read a table; `known` are normalised column names that help to tell the delimiter.

    head: the first 64 KiB are enough. Raises DataError with file and line where the table is broken.
    """
    text, encoding = read_text(path, head)
    findings = []
    if encoding == "latin-1":
        controls = sum(character in _CONTROLS for character in text[:_LOOKED_AT])
        if controls > _MOST_CONTROLS * min(len(text), _LOOKED_AT):
            raise DataError(f"{path}: {controls} of its first characters are none that is written; expected a text.")
        message = f"{path.name} is not UTF-8 and was read as latin-1; check that names with accents look right"
        findings.append(Finding("encoding", message))
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        header, rows = _from_records(path, _json_lines(path, text))
        return Sheet(path, header, rows, "JSON lines", tuple(findings))
    if path.suffix.lower() == ".json":
        whole = read_text(path)[0] if head else text
        header, rows = _from_records(path, _json_list(path, whole))
        return Sheet(path, header, rows, "a JSON list", tuple(findings))
    delimiter = sniff(text, known)
    header, rows = _from_csv(path, text, delimiter, strict=not head)
    return Sheet(path, header, rows, f"separated by {_delimiter_name(delimiter)}", tuple(findings))


def normalise(column: str) -> str:
    """`File Name` and `file-name` -> `file_name`."""
    return "_".join("".join(c if c.isalnum() else " " for c in column.lower()).split())


def sniff(text: str, known: frozenset[str]) -> str:
    """The delimiter whose header has most known columns, then whose first records agree best on a number of cells."""

    def fit(delimiter: str) -> tuple[int, float, int]:
        try:
            records = [cells for _, cells in islice(parse(text[:20000], delimiter), 20)]
        except csv.Error:
            return 0, 0.0, 0
        if not records:
            return 0, 0.0, 0
        width = len(records[0])
        same = sum(len(cells) == width for cells in records) / len(records) if width > 1 else 0.0
        return sum(normalise(cell) in known for cell in records[0]), same, width

    best = max(DELIMITERS, key=fit)
    return best if fit(best)[2] > 1 else ","


def parse(text: str, delimiter: str, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """(line number at which the record starts, stripped cells) of every record that is not blank.

    strict: a quote that is never closed raises csv.Error, instead of swallowing the rest of the file. Where every
    line has as many tabs, quotes are part of what is said: a cell in quotes loses them, others keep theirs.
    """
    if delimiter == "\t" and '"' in text and _is_even(text):
        for line, content in enumerate(text.splitlines(), 1):
            cells = [_unquoted(cell.strip()).strip() for cell in content.split("\t")]
            if any(cells):
                yield line, cells
        return
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=strict)
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, [cell.strip() for cell in cells]
            start = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {start}: {error}") from None


def _is_even(text: str) -> bool:
    counts = {line.count("\t") for line in text.splitlines() if line.strip()}
    return len(counts) == 1 and counts != {0}


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def _from_csv(path: Path, text: str, delimiter: str, strict: bool) -> tuple[tuple[str, ...], Any]:
    try:
        records = list(parse(text, delimiter, strict))
    except csv.Error as error:
        raise DataError(f"{path}, {error}. Expected cells that open and close their double quotes.") from None
    if not records:
        raise DataError(f"{path}: the table is empty; expected a header line and a row for each file.")
    header = _unique(records[0][1])
    rows = []
    for line, cells in records[1:]:
        spare = [cell for cell in cells[len(header) :] if cell]
        if spare:
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}; the first too many "
                f"is {spare[0]!r}. Put cells that contain {_delimiter_name(delimiter)} in double quotes."
            )
        rows.append((line, tuple(cells[: len(header)]) + ("",) * (len(header) - len(cells))))
    return header, tuple(rows)


def _unique(header: Sequence[str]) -> tuple[str, ...]:
    """Columns of the same or no name are numbered, so that a name means one column."""
    names: list[str] = []
    for at, name in enumerate(header, 1):
        names.append(name if name and name not in names else f"{name or 'column'} {at}")
    return tuple(names)


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for line, row in enumerate(text.split("\n"), 1):
        if row.strip():
            yield line, _json(path, row, line)


def _json_list(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Elements are numbered from 1: JSON does not say on which line one starts."""
    value = _json(path, text, None) if text.lstrip().startswith("[") else None
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a JSON list of objects, one for each file, found something else.")
    yield from enumerate(value, 1)


def _json(path: Path, text: str, line: int | None) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno if line is None else line}: not JSON: {error.msg}.") from None
    except (RecursionError, ValueError):
        message = "JSON nested too deeply or with too long a number; expected one flat object for each file"
        raise DataError(f"{path}, line {line or 1}: {message}.") from None


def _from_records(path: Path, records: Iterator[tuple[int, Any]]) -> tuple[tuple[str, ...], Any]:
    columns: dict[str, None] = {}
    kept: list[tuple[int, dict[str, Any]]] = []
    for line, record in records:
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {line}: expected an object with a file and a label, found {record!r:.60}.")
        columns.update(dict.fromkeys(record))
        kept.append((line, record))
    rows = tuple((line, tuple(_cell(record.get(name)) for name in columns)) for line, record in kept)
    return tuple(columns), rows


def _cell(value: Any) -> str:
    """A JSON value as a cell; the elements of a list are joined by `|`, as multi-label tables write them."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "|".join(_cell(item) for item in value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode().strip()  # JSON can spell half a surrogate pair


def _delimiter_name(delimiter: str) -> str:
    return {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}[delimiter]
