"""Which files there are, and which of them a written path means.

Knows folders, links and suffixes, and nothing about labels. Only names are looked at; no file is opened.
"""

# ruff: noqa: PTH110, PTH113, PTH116, PTH117, PTH118, PTH122
# Strings and os calls throughout: pathlib takes 60,000 files several times longer.

from __future__ import annotations

import os
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from foveal.types import Finding

Parts = tuple[str, ...]

DEPTH_AROUND = 4
"""How deep to search around a table that was given itself: its folder may be a home folder."""

_IGNORED = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_RUN_FILES = frozenset({"card.json", "weights.safetensors"})
_TROUBLES = {
    "broken-link": "Links that lead nowhere were left out",
    "special-file": "Devices, pipes and the like were left out",
    "linked-twice": "Links to folders that are read anyway (or to a folder around them) were not followed",
    "bad-name": "Names that are not valid Unicode were left out; rename them",
    "unreadable-folder": "Folders that may not be opened were left out; check their permissions",
    "run-folder": "Folders of earlier foveal runs were left out",
}


@dataclass(frozen=True)
class Folder:
    """One folder below the root: its NFC `parts`, and the names in it, sorted, with and without a wanted suffix."""

    path: str
    parts: Parts
    files: tuple[str, ...]
    others: tuple[str, ...]
    troubles: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return "/".join(self.parts)

    def below(self, file: str) -> str:
        """The path of one of its files below the root, NFC with forward slashes."""
        return "/".join((*self.parts, nfc(file)))


def nfc(text: str) -> str:
    """Composed Unicode, as names are compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether the name ends in one of these lower-case suffixes, in any case."""
    return name.lower().endswith(suffixes)


def walk(root: Path, suffixes: tuple[str, ...], depth: int | None = None) -> Iterator[Folder]:
    """Every folder, nearest first, links to folders last; no folder twice, so that a loop of links ends.

    Hidden names, system files and foveal's own runs are left out. depth: how many levels below the root to go.
    """
    queue: deque[tuple[str, Parts, bool]] = deque([(os.path.normpath(root), (), False)])
    linked: deque[tuple[str, Parts, bool]] = deque()
    seen: set[tuple[int, int]] = set()
    while queue or linked:
        path, parts, is_link = queue.popleft() if queue else linked.popleft()
        folder, folders, links = _scan(path, parts, suffixes, seen)
        yield folder
        if depth is None or len(parts) < depth:
            queue.extend((f"{path}{os.sep}{name}", (*parts, nfc(name)), is_link) for name in folders)
            linked.extend((f"{path}{os.sep}{name}", (*parts, nfc(name)), True) for name in links)


def _scan(
    path: str, parts: Parts, suffixes: tuple[str, ...], seen: set[tuple[int, int]]
) -> tuple[Folder, list[str], list[str]]:
    """One folder, and the names of the folders and of the links to folders in it. Adds the folder to `seen`."""
    troubles: list[tuple[str, str]] = []
    names: tuple[list[str], list[str], list[str], list[str]] = ([], [], [], [])
    try:
        status = os.stat(path)
        entries = [] if (status.st_dev, status.st_ino) in seen else list(os.scandir(path))
    except OSError:
        return Folder(path, parts, (), (), (("unreadable-folder", "/".join(parts)),)), [], []
    if (status.st_dev, status.st_ino) in seen:
        return Folder(path, parts, (), (), (("linked-twice", "/".join(parts)),)), [], []
    seen.add((status.st_dev, status.st_ino))
    if parts and _RUN_FILES.issubset(entry.name for entry in entries):
        return Folder(path, parts, (), (), (("run-folder", "/".join(parts)),)), [], []
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _IGNORED:
            continue
        kind = _kind(entry, suffixes)
        if isinstance(kind, str):
            troubles.append((kind, "/".join((*parts, _printable(entry.name)))))
        else:
            names[kind].append(entry.name)
    files, others, folders, links = (sorted(group) for group in names)
    return Folder(path, parts, tuple(files), tuple(others), tuple(troubles)), folders, links


def _kind(entry: os.DirEntry[str], suffixes: tuple[str, ...]) -> int | str:
    """0 a wanted file, 1 another file, 2 a folder, 3 a link to a folder; or what is wrong with it."""
    name = entry.name
    if not name.isascii() and _printable(name) != name:
        return "bad-name"
    if entry.is_dir():
        return 3 if entry.is_symlink() else 2
    if not entry.is_file():
        return "special-file" if os.path.exists(entry.path) else "broken-link"
    return 0 if has_suffix(name, suffixes) else 1


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def troubles(folders: Iterable[Folder]) -> list[Finding]:
    """What stood in the way of the walk, one finding a kind."""
    met: dict[str, list[str]] = {}
    for folder in folders:
        for kind, name in folder.troubles:
            met.setdefault(kind, []).append(name)
    return [Finding(kind, message, tuple(met[kind])) for kind, message in _TROUBLES.items() if kind in met]


@dataclass(frozen=True)
class Finder:
    """Finds the file that a cell of a table in `home` means, in the data folder `root`; paths as strings."""

    root: Path
    home: Path
    suffixes: tuple[str, ...]
    depth: int | None = None
    """How deep below the root to search for a file by the end of its path."""

    def find(self, written: str) -> str | None:
        """Relative to the table, to the root or absolute; backslashes, no suffix, and a folder left out are fine."""
        if not written or "\0" in written:
            return None
        tried = [written] if "\\" not in written else [written, written.replace("\\", "/")]
        for name in tried:
            for start in self._starts(name):
                path = os.path.normpath(os.path.join(start, name))
                found = self._there(path)
                if found is not None:
                    return found
        return self._by_tail(tried[-1])

    def _starts(self, written: str) -> list[str]:
        starts = [str(self.home)] if self.home == self.root else [str(self.home), str(self.root)]
        first = written.partition("/")[0]
        return starts + [around for name, around in self._around if name == first]

    @cached_property
    def _around(self) -> list[tuple[str, str]]:
        """The names of the table's and the data folder, which paths may repeat, and the folders around them."""
        return [(place.name, str(place.parent)) for place in (self.home.resolve(), self.root.resolve())]

    def _there(self, path: str) -> str | None:
        if os.path.isfile(path):
            return path
        if has_suffix(path, self.suffixes):
            return None
        tries = (path + suffix for low in self.suffixes for suffix in (low, low.upper()))
        return next((path for path in tries if os.path.isfile(path)), None)

    def _by_tail(self, written: str) -> str | None:
        """The only file of the tree whose path ends in the whole of what is written, with or without its suffix."""
        parts = nfc(written).removeprefix("./").split("/")
        if os.path.isabs(written) or ":" in parts[0]:
            return None
        candidates = self._index.get(parts[-1], ())
        ending = "/" + "/".join(parts)
        fits = [
            path for below, path in candidates if f"/{below}".endswith(ending) or f"/{_stem(below)}".endswith(ending)
        ]
        return fits[0] if len(fits) == 1 else None

    @cached_property
    def _index(self) -> dict[str, list[tuple[str, str]]]:
        """File name, and file name without suffix -> (path below the root, path)."""
        index: dict[str, list[tuple[str, str]]] = {}
        for folder in walk(self.root, self.suffixes, self.depth):
            for file in folder.files:
                pair = (folder.below(file), f"{folder.path}{os.sep}{file}")
                for name in (nfc(file), _stem(nfc(file))):
                    index.setdefault(name, []).append(pair)
        return index


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def unlisted(root: Path, suffixes: tuple[str, ...], listed_paths: set[str]) -> tuple[list[Finding], list[str]]:
    """What the walk met, and the paths below the root of wanted files that no row names."""
    folders = list(walk(root, suffixes))
    left = [
        folder.below(file)
        for folder in folders
        for file in folder.files
        if f"{folder.path}{os.sep}{file}" not in listed_paths
    ]
    return troubles(folders), left


def census(names: Sequence[str]) -> str:
    """`12 .txt, 3 .pdf and 1 without suffix`, most frequent first."""
    counts: dict[str, int] = {}
    for name in names:
        suffix = os.path.splitext(name)[1].lower() or "without suffix"
        counts[suffix] = counts.get(suffix, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} {suffix}" for suffix, count in ranked[:6]]
    return ", ".join(shown) + (" and others" if len(ranked) > 6 else "")
