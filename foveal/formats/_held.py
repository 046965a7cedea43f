"""Labelled things that stand in files with many of them: rows -> examples, and which files of a folder could be such.

Knows lines, labels and passages; does not know what a thing's bytes mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal.errors import DataError
from foveal.formats._dataset import assemble
from foveal.formats._files import walk
from foveal.formats._names import split_within, tidy
from foveal.types import Dataset, Example, Finding, Passage

_DEPTH, _MANY = 2, 30
_ABOUT = ("license", "licence", "readme", "copying", "citation", "changelog", "notice", "requirements", "classes")
_OTHER_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pdf", ".zip", ".gz", ".tar", ".tgz", ".bz2",
    ".xz", ".7z", ".wav", ".mp3", ".flac", ".ogg", ".mp4", ".avi", ".mov", ".xml", ".html", ".htm", ".yaml", ".yml",
    ".md", ".py", ".ipynb", ".pkl", ".pt", ".bin", ".safetensors", ".onnx", ".npy", ".npz", ".parquet", ".xlsx",
    ".xls", ".h5", ".mat", ".js", ".css", ".toml", ".ini", ".cfg", ".log", ".sh",
)  # fmt: skip
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Held:
    """One thing: the line that it begins on, its bytes, and what is said about it."""

    line: int
    content: bytes
    label: str
    split: str | None = None
    group: str | None = None


def examples_of(path: Path, rows: Sequence[Held], kind: str) -> tuple[list[Example], list[Finding]]:
    """An example a row that has a label and any content."""
    labelled, bare, empty = list[Example](), list[str](), list[str]()
    for row in rows:
        label, name = tidy(row.label), f"{path.name}:{row.line}"
        if not row.content:
            empty.append(name)
        elif not label:
            bare.append(name)
        else:
            passage = Passage(path, row.line, row.content, kind)
            labelled.append(Example(passage, label, row.split, tidy(row.group or "") or None))
    findings = []
    if bare:
        findings.append(Finding("empty-label", f"{len(bare)} rows have no label and are left out", tuple(bare)))
    if empty:
        findings.append(Finding("empty-row", f"{len(empty)} rows hold nothing and are left out", tuple(empty)))
    return labelled, findings


def examples_in(
    files: Sequence[Path], rows_of: Callable[[Path], tuple[list[Held], list[Finding]]], kind: str
) -> tuple[list[Example], list[Finding]]:
    """The examples of several files, and what is told of each."""
    examples, findings = list[Example](), list[Finding]()
    for file in files:
        rows, told = rows_of(file)
        own, more = examples_of(file, rows, kind)
        examples += own
        findings += [*told, *more]
    return examples, findings


def candidates(path: Path) -> list[Path]:
    """The file itself, or those files of the nearest folders that could hold many things, by name and beginning."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        return []
    for folder in walk(path, (), depth=_DEPTH):
        names = [name for name in folder.others if could_hold(name)]
        if names and len(names) <= _MANY:
            found = [file for name in names if _is_text(file := Path(folder.path, name))]
            if found:
                return found
    return []


def parts_of(paths: Sequence[Path]) -> list[Path]:
    """Of several files, those whose names say a split, where one says train; else all of them."""
    named = [path for path in paths if split_within(path.name)]
    return named if any(split_within(path.name) == "train" for path in named) else list(paths)


def are_parts(paths: Sequence[Path]) -> bool:
    """Whether each file is another split."""
    splits = [split_within(path.name) for path in paths]
    return None not in splits and len(set(splits)) == len(splits)


def root_of(path: Path) -> Path:
    """The folder that names of examples are relative to."""
    return path if path.is_dir() else path.parent


def dataset_of(
    path: Path, layout: str, examples: Sequence[Example], findings: Sequence[Finding], what: tuple[str, str]
) -> Dataset:
    """`assemble` for what is held in the file or folder `path`; what: one and several of the things, in words."""
    return assemble(root_of(path), layout, examples, findings, unit=what[0], things=what[1])


def require_one(path: Path, files: Sequence[Path], what: str) -> None:
    """Raises DataError where there are several files, and they are no splits."""
    if len(files) > 1 and not are_parts(files):
        names = "".join(f"\n  {file}" for file in files[:10])
        raise DataError(f"{path}: several files hold {what}; give the one to use as DATA:{names}")


def head_of(path: Path) -> bytes:
    """The first 64 KiB; nothing where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def could_hold(name: str) -> bool:
    """Whether a file of this name could be text with many things in it."""
    low = name.lower()
    return not low.endswith(_OTHER_SUFFIXES) and not low.partition(".")[0].startswith(_ABOUT)


def _is_text(path: Path) -> bool:
    head = head_of(path)
    return bool(head.strip()) and (b"\0" not in head or head[:2] in (b"\xff\xfe", b"\xfe\xff"))
