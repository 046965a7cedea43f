"""Which folders are classes, splits or mere wrapping, decided from the paths of those that hold files.

Knows tuples of folder names; never touches a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from foveal.formats._files import Parts
from foveal.formats._names import listed, split_within, split_word
from foveal.types import Finding

Rests = dict[Parts, tuple[str | None, Parts]]
"""Folder -> its split, and what is left of its path without wrapping and split."""


class Place(NamedTuple):
    """What a folder says about the files directly in it."""

    label: str
    split: str | None


@dataclass(frozen=True)
class Layout:
    """What each folder that holds files is; `words` puts it into words."""

    places: dict[Parts, Place]
    words: str
    unlabelled: tuple[Parts, ...] = ()
    beside: tuple[Parts, ...] = ()
    findings: tuple[Finding, ...] = ()


class Splits(NamedTuple):
    """The position in the path at which the split stands, and which folder name there is which split."""

    position: int
    names: dict[str, str] = field(default_factory=dict)


def arrange(keys: Collection[Parts]) -> Layout:
    """Decide what the folders with these paths are. Folders that hold no files must not be among them."""
    base, loose = _unwrap(keys)
    keys = [key for key in keys if key not in loose]
    if _only_splits(keys, len(base)):
        words = f"files directly under {_folders(sorted(key[-1] for key in keys))}, without class folders"
        return Layout({}, words, (*loose, *keys))
    splits = find_splits(keys, len(base))
    if splits is None:
        under = f" under {'/'.join(base)}/" if base else ""
        rests: Rests = {key: (None, key[len(base) :]) for key in keys if len(key) > len(base)}
        return _name(rests, f"class folders{under}", tuple(loose), ())
    inside = [key for key in keys if len(key) > splits.position and key[splits.position] in splits.names]
    cut = {
        key: (splits.names[key[splits.position]], key[len(base) : splits.position] + key[splits.position + 1 :])
        for key in inside
    }
    words = f"class folders under {_folders(['/'.join((*base, name)) for name in splits.names])}"
    if splits.position > len(base):
        words = f"class folders, each with {_folders(list(splits.names))}"
    beside = tuple(key for key in keys if key not in cut)
    bare = tuple(key for key, (_, rest) in cut.items() if not rest)
    return _name({key: value for key, value in cut.items() if value[1]}, words, (*loose, *bare), beside)


def _unwrap(keys: Collection[Parts]) -> tuple[Parts, list[Parts]]:
    """What all paths start with, and the folders around the others whose own files are therefore in no class."""
    left, loose = set(keys), []
    while True:
        start = _common(left)
        if len(left) == 1 and start:
            return start[:-1], loose
        if start not in left:
            return start, loose
        left.remove(start)
        loose.append(start)


def _common(keys: Iterable[Parts]) -> Parts:
    ordered = sorted(keys)
    if not ordered:
        return ()
    first, last = ordered[0], ordered[-1]
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


def _only_splits(keys: Collection[Parts], start: int) -> bool:
    """Files directly in train/ and test/ and nothing else: those are splits without classes, not classes."""
    if len(keys) < 2 or any(len(key) != start + 1 for key in keys):
        return False
    words = {split_word(key[start]) for key in keys}
    return None not in words and "train" in words


def find_splits(keys: Collection[Parts], start: int, labels_below: bool = True) -> Splits | None:
    """Where the splits are: folders beside a train folder that has folders of its own, or inside every class.

    A class may be called `test`, or `train` as the vehicle, hence the conditions. labels_below: whether the labels
    are folders below the splits; otherwise train may hold its files directly.
    """
    for meaning in (split_word, split_within):
        names = _meanings(keys, start, meaning)
        trains = {name for name, split in names.items() if split == "train"}
        deep = any(len(key) > start + 1 and key[start] in trains for key in keys)
        if trains and len(names) > len(trains) and (deep or not labels_below):
            return Splits(start, names)
    for position in range(start + 1, max(map(len, keys), default=0)):
        if all(len(key) > position and split_word(key[position]) for key in keys):
            names = _meanings(keys, position, split_word)
            if len(set(names.values())) > 1 and "train" in names.values():
                return Splits(position, names)
    return None


def _meanings(keys: Collection[Parts], position: int, meaning: Callable[[str], str | None]) -> dict[str, str]:
    """Folder name -> split at this position, train first."""
    found = {key[position]: meaning(key[position]) for key in keys if len(key) > position}
    order = ("train", "val", "test")
    return dict(sorted(((n, s) for n, s in found.items() if s), key=lambda item: (order.index(item[1]), item[0])))


def _name(rests: Rests, words: str, unlabelled: tuple[Parts, ...], beside: tuple[Parts, ...]) -> Layout:
    """Name each class by its innermost folder, or by its whole path where two classes would share a name."""
    base, loose = _unwrap({rest for _, rest in rests.values()})
    bare = tuple(key for key, (_, rest) in rests.items() if rest in loose)
    kept = {key: (split, rest[len(base) :]) for key, (split, rest) in rests.items() if rest not in loose}
    shared = _shared(kept.values())
    places = {
        key: Place("/".join(rest) if rest[-1] in shared else rest[-1], split) for key, (split, rest) in kept.items()
    }
    findings = (*_told_shared(kept.values(), shared), *_told_mixed(kept))
    return Layout(places, words, (*unlabelled, *bare), beside, findings)


def _shared(rests: Iterable[tuple[str | None, Parts]]) -> set[str]:
    """Innermost names that stand for several folders of one split; the same name in two splits is one class."""
    paths: dict[tuple[str | None, str], set[Parts]] = {}
    for split, rest in rests:
        paths.setdefault((split, rest[-1]), set()).add(rest)
    return {name for (_, name), found in paths.items() if len(found) > 1}


def _told_shared(rests: Iterable[tuple[str | None, Parts]], shared: set[str]) -> list[Finding]:
    named = sorted({"/".join(rest) for _, rest in rests if rest[-1] in shared})
    if not named:
        return []
    message = (
        f"{len(named)} folders share their innermost names ({listed(sorted(shared))}), so each is a class named by "
        "its whole path; if the outer folder is the class, use --label '([^/]+)/[^/]+/[^/]+$'"
    )
    return [Finding("shared-name", message, tuple(named))]


def _told_mixed(kept: Rests) -> list[Finding]:
    outer = {key[:end] for key in kept for end in range(1, len(key))}
    mixed = tuple("/".join(key) for key in kept if key in outer)
    if not mixed:
        return []
    message = "Folders with both files and class folders: their own files are a class, and so is each folder inside"
    return [Finding("mixed-folder", message, mixed)]


def _folders(names: list[str]) -> str:
    shown = [f"{name}/" for name in names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
