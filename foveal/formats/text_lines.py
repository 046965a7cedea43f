"""Texts in lines: a label and a text on each, a file for each class, or texts and labels in two files.

Knows lines; a table with columns is not for it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from foveal.errors import DataError
from foveal.formats._cells import read_text
from foveal.formats._held import (
    Held,
    are_parts,
    candidates,
    dataset_of,
    examples_in,
    examples_of,
    parts_of,
    require_one,
)
from foveal.formats._names import split_within, split_word
from foveal.formats.text_table import KIND, TEXTS
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Example, Finding, Passage

_LINE = re.compile(r"\s*(?:__label__)?(\S+?)(?:\t| +)(\S.*)")
_WORD = re.compile(r"[^\W\d_]{2,}")
_FEWEST_LINES, _FEWEST_WORDS = 4, 2.0
# Of the first words, so many different ones at most: a share of the lines, and in all.
_MOST_LABELS_A_LINE, _MOST_LABELS = 0.2, 300
_SPLITTERS = re.compile(r"[._\-]+")


class LabelledLines(Format):
    """`label text` on each line, separated by a tab or spaces; also `__label__name text`."""

    name = "labelled lines of text"
    held = KIND

    def detect(self, path: Path, options: FormatOptions) -> Match:
        found = _labelled(path)
        if not found:
            return Match(0, "no file of `label text` lines")
        where = ", ".join(file.name for file in found)
        if len(found) > 1 and not are_parts(found):
            return Match(0.4, f"several files of `label text` lines, and nothing says which one counts: {where}")
        return Match(0.49, f"{where}: lines of a label and a text")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        found = _labelled(path)
        if not found:
            raise DataError(f"{path}: no file of `label text` lines found.")
        require_one(path, found, "labelled lines")
        examples, findings = examples_in(found, _labelled_rows, KIND)
        names = ", ".join(file.name for file in found)
        return dataset_of(path, f"lines of a label and a text in {names}", examples, findings, TEXTS)


class FilesOfLines(Format):
    """A text on each line, and a file for each class: `reviews.pos` and `reviews.neg`."""

    name = "a file of lines for each class"
    held = KIND

    def detect(self, path: Path, options: FormatOptions) -> Match:
        found = _by_class(path)
        if not found:
            return Match(0, "no files of lines whose names differ in one part, the class")
        shown = ", ".join(f"{one.file.name} ({one.label})" for one in found[:3])
        return Match(0.46, f"a text on each line of {shown}")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        found = {one.file: one for one in _by_class(path)}

        def rows_of(file: Path) -> tuple[list[Held], list[Finding]]:
            lines, told = _lines(file)
            label, split = found[file].label, found[file].split
            return [Held(number, line.strip().encode(), label, split) for number, line in lines], told

        examples, findings = examples_in([*found], rows_of, KIND)
        names = ", ".join(file.name for file in [*found][:6])
        return dataset_of(path, f"a text on each line of {names}", examples, findings, TEXTS)


class ParallelLines(Format):
    """`train_text.txt` beside `train_labels.txt`; names for the labels may stand in `mapping.txt`."""

    name = "texts and labels in two files"
    held = KIND

    def detect(self, path: Path, options: FormatOptions) -> Match:
        found = _parallel(path)
        if not found:
            return Match(0, "no file of texts beside one of labels (train_text.txt, train_labels.txt)")
        return Match(0.7, f"{found[0][0].name} beside {found[0][1].name}")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        examples, findings, found = list[Example](), list[Finding](), _parallel(path)
        names = _mapping(found[0][0].parent) if found else {}
        for texts, labels in found:
            (lines, told), (said, _) = _lines(texts, blank=True), _lines(labels, blank=True)
            if len(lines) != len(said):
                raise DataError(
                    f"{labels}: {len(said)} lines, but {len(lines)} in {texts.name}; expected a label for each text."
                )
            split = split_within(texts.name)
            rows = [
                Held(number, line.strip().encode(), names.get(label.strip(), label), split)
                for (number, line), (_, label) in zip(lines, said, strict=True)
            ]
            own, more = examples_of(texts, rows, KIND)
            examples += own
            findings += [*told, *more]
        shown = ", ".join(f"{texts.name} and {labels.name}" for texts, labels in found)
        return dataset_of(path, f"texts and labels in {shown}", examples, findings, TEXTS)


def unlabelled(path: Path) -> list[Passage]:
    """The texts of a file of `label text` lines, for predictions; none where it holds something else."""
    if not _is_labelled(path):
        return []
    parts = [(number, _LINE.fullmatch(line)) for number, line in _lines(path)[0]]
    return [Passage(path, number, found[2].strip().encode(), KIND) for number, found in parts if found]


class _Of(NamedTuple):
    """A file, the class of all its lines, and their split."""

    file: Path
    label: str
    split: str | None


def _lines(path: Path, blank: bool = False, head: bool = False) -> tuple[list[tuple[int, str]], list[Finding]]:
    """Lines with their numbers, blank ones only if wanted, but none after the last line break."""
    text, encoding = read_text(path, head)
    told = []
    if encoding == "latin-1":
        message = f"{path.name} is not UTF-8 and was read as latin-1; check that letters with accents look right"
        told.append(Finding("encoding", message))
    lines = text.split("\n")
    if lines and not lines[-1].strip():
        lines.pop()
    return [(at, line.rstrip("\r")) for at, line in enumerate(lines, 1) if blank or line.strip()], told


def _labelled_rows(file: Path) -> tuple[list[Held], list[Finding]]:
    lines, told = _lines(file)
    split, rows, odd = split_within(file.name), list[Held](), list[str]()
    for number, line in lines:
        parts = _LINE.fullmatch(line)
        if parts is None:
            odd.append(f"{file.name}:{number}")
        else:
            rows.append(Held(number, parts[2].strip().encode(), parts[1], split))
    if odd:
        message = f"{len(odd)} lines are no label and text and are left out"
        told.append(Finding("odd-line", message, tuple(odd)))
    return rows, told


def _labelled(path: Path) -> list[Path]:
    return [file for file in parts_of(candidates(path)) if _is_labelled(file)]


def _is_labelled(path: Path) -> bool:
    lines = [line for _, line in _lines(path, head=True)[0]]
    parts = [found for line in lines if (found := _LINE.fullmatch(line))]
    if len(parts) < max(_FEWEST_LINES, 0.95 * len(lines)):
        return False
    labels = Counter(part[1] for part in parts)
    words = sum(len(_WORD.findall(part[2])) for part in parts) / len(parts)
    marked = lines[0].lstrip().startswith("__label__")
    few = 2 <= len(labels) <= min(_MOST_LABELS, max(2, _MOST_LABELS_A_LINE * len(parts)))
    return (few or marked) and words >= _FEWEST_WORDS


def _are_texts(path: Path) -> bool:
    lines = [line for _, line in _lines(path, head=True)[0]]
    words = sum(len(_WORD.findall(line)) for line in lines) / max(1, len(lines))
    return len(lines) > 1 and words >= _FEWEST_WORDS


def _by_class(path: Path) -> list[_Of]:
    """Files of texts whose names have as many parts and differ in one of them, which is no split."""
    if not path.is_dir():
        return []
    files = candidates(path)
    parts = [_SPLITTERS.split(file.name) for file in files]
    if len(files) < 2 or len({len(own) for own in parts}) > 1:
        return []
    differing = [at for at in range(len(parts[0])) if len({own[at] for own in parts}) > 1]
    of_split = [at for at in differing if all(split_word(own[at]) for own in parts)]
    of_class = [at for at in differing if at not in of_split]
    if len(of_class) != 1 or len(of_split) > 1 or not all(map(_are_texts, files)):
        return []
    (at,) = of_class
    splits = [split_word(own[of_split[0]]) if of_split else None for own in parts]
    return [_Of(file, own[at], split) for file, own, split in zip(files, parts, splits, strict=True)]


def _parallel(path: Path) -> list[tuple[Path, Path]]:
    if not path.is_dir():
        return []
    files = {file.name: file for file in candidates(path)}
    found = []
    for name, file in files.items():
        for texts, labels in (("text", "labels"), ("texts", "labels"), ("text", "label"), ("sentences", "labels")):
            other = re.sub(rf"(^|[_.\-]){texts}(?=[_.\-]|$)", rf"\g<1>{labels}", name)
            if other != name and other in files:
                found.append((file, files[other]))
                break
    return found


def _mapping(folder: Path) -> dict[str, str]:
    """Label as written -> name, from `mapping.txt`, where there is one."""
    path = folder / "mapping.txt"
    if not path.is_file():
        return {}
    pairs: Sequence[list[str]] = [line.split(None, 1) for _, line in _lines(path)[0]]
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
