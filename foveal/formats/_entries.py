"""Written rows (file, label, split, group) -> examples: missing files, empty, repeated and contradicting rows.

Knows rows with line numbers, whichever file they stood in; does not know tables' columns or lists' separators.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from foveal.errors import DataError
from foveal.formats._files import Finder, has_suffix, unlisted
from foveal.formats._names import tidy
from foveal.types import Example, Finding

MISSING_SHARE = 0.2


class Entry(NamedTuple):
    """One row: where it stands, and what it says; `label` empty where it says none."""

    table: str
    line: int
    file: str
    label: str
    split: str | None = None
    group: str | None = None

    def __str__(self) -> str:
        return f"{self.file} ({self.table}, line {self.line})"


class Located(NamedTuple):
    """A row whose file is there."""

    entry: Entry
    path: str


def settle(entries: Sequence[Entry], finders: dict[str, Finder], where: str) -> tuple[list[Example], list[Finding]]:
    """One example a file, in the rows' order. finders: by table. Raises DataError where many files are missing."""
    located, findings = _locate(entries, finders, where)
    labelled = [row for row in located if row.entry.label]
    if len(labelled) < len(located):
        empty = [str(row.entry) for row in located if not row.entry.label]
        message = f"{len(empty)} rows have no label and are left out"
        findings.append(Finding("empty-label", message, tuple(empty)))
    by_file: dict[str, list[Located]] = {}
    for row in labelled:
        by_file.setdefault(row.path, []).append(row)
    kept = [_best(rows) for rows in by_file.values() if len({tidy(row.entry.label) for row in rows}) == 1]
    examples = [
        Example(Path(row.path), tidy(row.entry.label), row.entry.split, tidy(row.entry.group or "") or None)
        for row in kept
    ]
    return examples, [*findings, *_about_repeats(list(by_file.values()))]


def _locate(entries: Sequence[Entry], finders: dict[str, Finder], where: str) -> tuple[list[Located], list[Finding]]:
    found = [(entry, finders[entry.table].find(entry.file)) for entry in entries]
    missing = [entry for entry, path in found if path is None]
    suffixes = next(iter(finders.values())).suffixes
    unread = [entry for entry, path in found if path is not None and not has_suffix(path, suffixes)]
    if len(missing) + len(unread) > MISSING_SHARE * len(entries):
        raise DataError(_too_many(where, entries, missing, unread, suffixes))
    findings = []
    if missing:
        message = f"{len(missing)} of {len(entries)} rows name files that are missing and are left out"
        findings.append(Finding("missing-file", message, tuple(map(str, missing))))
    if unread:
        message = f"{len(unread)} of {len(entries)} rows name files of another kind and are left out"
        findings.append(Finding("ignored-suffix", message, tuple(map(str, unread))))
    return [Located(entry, path) for entry, path in found if path and has_suffix(path, suffixes)], findings


def _too_many(
    where: str, entries: Sequence[Entry], missing: list[Entry], unread: list[Entry], suffixes: tuple[str, ...]
) -> str:
    shown = "".join(f"\n  line {entry.line}: {entry.file}" for entry in (missing or unread)[:5])
    if missing:
        return (
            f"{where}: {len(missing)} of {len(entries)} rows name files that are missing; paths are taken relative "
            f"to the table, to the data folder, or as absolute. The first are:{shown}\n"
            "Put the table beside the files, or correct its paths."
        )
    return (
        f"{where}: {len(unread)} of {len(entries)} rows name files of a kind that cannot be read here; expected "
        f"{' '.join(suffixes)}. The first are:{shown}\nConvert the files, or correct the paths."
    )


def _best(rows: list[Located]) -> Located:
    """Of rows that agree on the label, the one in the split that must stay unseen: test before val before train."""
    order = ("test", "val", "train", None)
    return min(rows, key=lambda row: order.index(row.entry.split))


def _about_repeats(files: list[list[Located]]) -> list[Finding]:
    same: list[str] = []
    crossing: list[str] = []
    torn: list[str] = []
    for rows in files:
        if len(rows) == 1:
            continue
        lines = ", ".join(f"{row.entry.table}:{row.entry.line}" for row in rows)
        name = rows[0].entry.file
        if len({tidy(row.entry.label) for row in rows}) > 1:
            said = " and ".join(sorted({tidy(row.entry.label) for row in rows}))
            torn.append(f"{name} is {said} ({lines})")
        elif len({row.entry.split for row in rows}) > 1:
            crossing.append(f"{name} ({lines})")
        else:
            same.append(f"{name} ({lines})")
    told = (
        ("repeated-row", same, "files are listed more than once with the same label and are kept once"),
        ("crossing-row", crossing, "files are listed in several splits and are kept in the held-out one only"),
        ("contradiction", torn, "files have contradicting labels and are left out"),
    )
    return [Finding(kind, f"{len(which)} {message}", tuple(which)) for kind, which, message in told if which]


def left_over(root: Path, suffixes: tuple[str, ...], entries: Sequence[Example], where: str) -> list[Finding]:
    """What the walk met, and readable files that have no example."""
    findings, left = unlisted(root, suffixes, {os.path.normpath(example.source) for example in entries})
    if left:
        message = f"{len(left)} files have no usable row in {where}, so they are unlabelled and left out"
        findings.append(Finding("unlabelled", message, tuple(left)))
    return findings
