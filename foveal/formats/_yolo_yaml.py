"""What a data.yaml says: the classes' names, and which pictures are in which split.

Knows its keys, and that its paths are often those of another machine. What it asks to be run is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from foveal.errors import DataError
from foveal.formats._cells import read_text
from foveal.formats._files import Folder
from foveal.formats._names import listed, split_word, tidy
from foveal.types import Finding

_SUFFIXES = (".yaml", ".yml")
_KEYS = ("train", "val", "valid", "validation", "test")
_LIST = ".txt"
_NAMES = re.compile(r"^['\"]?names['\"]?\s*:", re.MULTILINE)


@dataclass(frozen=True)
class Settings:
    """path: None where there is no such file; names: by class number; base: what `path` says; places: split -> the
    folders and list files of its pictures, as written."""

    path: Path | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    base: str = ""
    places: Mapping[str, Sequence[str]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def splits(self, root: Path, pictures: Sequence[Path]) -> tuple[dict[Path, str], list[Finding]]:
        """Picture -> split, for those that are in one; and what was found elsewhere than it is said to be."""
        if self.path is None:
            return {}, []
        search = _Search(root, self.path, self.base, pictures)
        found = {
            split: {one: None for place in places for one in search.pictures_of(split, place)}
            for split, places in self.places.items()
        }
        if found.get("val") and found.get("val") == found.get("train"):
            message = f"{self.path.name}: val names the same pictures as train, so it is no validation part"
            search.findings.append(Finding("same-split", message))
            del found["val"]
        return {one: split for split in ("train", "val", "test") for one in found.get(split, ())}, search.findings


def find_settings(folders: Sequence[Folder]) -> Settings:
    """The nearest YAML file that names classes and a train part. Raises DataError where that is broken."""
    for folder in folders:
        for name in folder.others:
            if name.lower().endswith(_SUFFIXES):
                path = Path(folder.path, name)
                values = _loaded(path)
                if isinstance(values, dict) and "names" in values and any(key in values for key in _KEYS):
                    return _settings(path, values)
    return Settings()


def _loaded(path: Path) -> object:
    """None where it cannot be read and seems to be for something else. Raises DataError where it is broken."""
    text = read_text(path)[0]
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none, brackets in brackets
        if not _NAMES.search(text):
            return None
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = f", line {mark.line + 1}" if mark is not None else ""
        what = error.problem or error.context if isinstance(error, yaml.MarkedYAMLError) else error
        raise DataError(f"{path}{where}: not YAML: {what}.") from None


def _settings(path: Path, values: Mapping[str, Any]) -> Settings:
    names, findings = _names(path, values["names"]), []
    count = values.get("nc")
    if isinstance(count, int) and count != len(names):
        message = f"{path.name}: nc says {count} classes, names has {len(names)}; the names count"
        findings.append(Finding("class-names", message))
    places: dict[str, list[str]] = {}
    for key in _KEYS:
        written = values.get(key) or []
        listed_places = [written] if isinstance(written, str) else written
        if not isinstance(listed_places, list) or not all(isinstance(place, str) for place in listed_places):
            raise DataError(f"{path}: {key} is {written!r:.60}; expected a folder, a list file, or a list of those.")
        places.setdefault(split_word(key) or key, []).extend(listed_places)
    return Settings(path, names, str(values.get("path") or ""), places, tuple(findings))


def _names(path: Path, written: object) -> dict[int, str]:
    rows = dict(enumerate(written)) if isinstance(written, list) else written
    if not isinstance(rows, dict) or not all(type(number) is int for number in rows):
        raise DataError(f"{path}: names is {written!r:.60}; expected a list of names, or numbers with their names.")
    names = {number: tidy(str(name)) for number, name in rows.items()}
    twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if twice:
        raise DataError(f"{path}: several classes are called {listed(twice)}; give each a name of its own.")
    return names


class _Search:
    """Finds what is written in `path` among the pictures below `root`."""

    def __init__(self, root: Path, path: Path, base: str, pictures: Sequence[Path]) -> None:
        self.path, self.pictures = path, pictures
        home = path.parent
        starts = [home / base, home, root / base, root]
        self.starts = [start.resolve() for start in starts]
        self.root, self.findings = root.resolve(), list[Finding]()
        self.resolved = {one.resolve(): one for one in pictures}

    def pictures_of(self, split: str, place: str) -> list[Path]:
        written = place.replace("\\", "/")
        there = next((found for start in self.starts if (found := (start / written)).exists()), None)
        if there is None:
            there = self._elsewhere(split, written)
        if there is None:
            message = f"{self.path.name}: {split} is {place!r}, and no folder or list like it is there"
            self.findings.append(Finding("missing-split", message))
            return []
        return self._in_list(there) if there.suffix.lower() == _LIST else self._in_folder(there.resolve())

    def _elsewhere(self, split: str, written: str) -> Path | None:
        """The only folder with pictures whose path ends as the written one does, or that is called like the split."""
        folders = sorted({folder for one in self.resolved for folder in self._above(one)})
        wanted = [part for part in Path(written).parts if part not in ("..", ".", "/")]
        tails = [wanted[at:] for at in range(len(wanted))]
        likely = [[one for one in folders if list(one.parts[-len(tail) :]) == tail] for tail in tails if tail]
        likely.append([one for one in folders if split_word(one.name) == split])
        found = next((alike[0] for alike in likely if len(alike) == 1), None)
        if found is not None:
            message = f"{self.path.name}: {split} is {written!r}, which is not there; taken instead"
            self.findings.append(Finding("wrong-path", message, (found.relative_to(self.root).as_posix(),)))
        return found

    def _above(self, picture: Path) -> list[Path]:
        return [folder for folder in picture.parents if folder.is_relative_to(self.root) and folder != self.root]

    def _in_folder(self, folder: Path) -> list[Path]:
        return [one for resolved, one in self.resolved.items() if resolved.is_relative_to(folder)]

    def _in_list(self, path: Path) -> list[Path]:
        """Lines are paths, often absolute ones of another machine: as much of their end as it takes."""
        by_name: dict[str, list[Path]] = {}
        for one in self.pictures:
            by_name.setdefault(one.name, []).append(one)
        found, lost = [], []
        for number, line in enumerate(read_text(path)[0].splitlines(), 1):
            parts = Path(line.strip().replace("\\", "/")).parts
            if not parts:
                continue
            alike = by_name.get(parts[-1], [])
            best = max(alike, key=lambda one: _same_end(one.parts, parts), default=None)
            if best is None:
                lost.append(f"{path.name}, line {number}: {line.strip()}")
            else:
                found.append(best)
        if lost:
            message = f"{len(lost)} pictures of {path.name} are not there"
            self.findings.append(Finding("missing-file", message, tuple(lost)))
        return found


def _same_end(one: Sequence[str], other: Sequence[str]) -> int:
    same = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        same += 1
    return same
