"""Small data folders for the tests of formats: empty files, since formats look at names only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from foveal.layouts import FormatOptions
from foveal.types import Dataset, Finding

SUFFIXES = (".jpg", ".jpeg", ".png")
OPTIONS = FormatOptions(SUFFIXES)


def options(label: str | None = None, group: str | None = None) -> FormatOptions:
    return FormatOptions(SUFFIXES, label=label, group=group)


def grow(root: Path, names: Iterable[str]) -> Path:
    """Empty files of these names below the root."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def numbered(folder: str, count: int = 2) -> list[str]:
    return [f"{folder}/{number}.jpg" for number in range(count)]


def write(root: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def labels(dataset: Dataset) -> dict[str, object]:
    return {dataset.name(example): example.label for example in dataset.examples}


def splits(dataset: Dataset) -> dict[str, str | None]:
    return {dataset.name(example): example.split for example in dataset.examples}


def finding(dataset: Dataset, kind: str) -> Finding:
    """The only finding of this kind."""
    found = [finding for finding in dataset.findings if finding.kind == kind]
    assert len(found) == 1, f"{kind}: {[str(finding) for finding in dataset.findings]}"
    return found[0]


def kinds(dataset: Dataset) -> set[str]:
    return {finding.kind for finding in dataset.findings}


def boxes(dataset: Dataset) -> dict[str, list[tuple[object, ...]]]:
    """File -> (class, left, top, right, bottom) of its boxes, "ignored" behind those that are."""
    return {
        dataset.name(example): [
            (box.label, box.left, box.top, box.right, box.bottom, *(["ignored"] if box.ignored else []))
            for box in example.label  # type: ignore[union-attr]
        ]
        for example in dataset.examples
    }


def picture(root: Path, name: str, width: int = 40, height: int = 30, orientation: int = 1) -> Path:
    """A black picture; orientation: of its EXIF block."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height)).save(path, exif=exif)
    return path
