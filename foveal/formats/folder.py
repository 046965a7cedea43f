"""Class folders: the folder that a file lies in is its label; or a pattern in its path is, or a part of its name.

Knows files and their paths; which folder is a class or a split is decided in `_layout`. Never opens a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from foveal.errors import DataError
from foveal.formats._dataset import assemble
from foveal.formats._files import Folder, census, troubles, walk
from foveal.formats._layout import Layout, arrange, find_splits
from foveal.formats._name_parts import Guess, guess
from foveal.formats._patterns import captured, grouped, is_expression, nothing_matches, pattern
from foveal.formats._split_lists import divided
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Example, Finding


class ClassFolders(Format):
    """`cat/1.jpg`, `train/cat/1.jpg`, `fruit/apple/1.jpg`, `cat/train/1.jpg`; `cat_1.jpg` where all files lie
    in one folder; with --label, any names at all."""

    name = "class folders"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        if not path.is_dir():
            return Match(0, "not a folder")
        filled = list(islice((f for f in walk(path, options.suffixes) if f.files), 3))
        if not filled:
            return Match(0, f"no files with one of the suffixes {' '.join(options.suffixes)}")
        if is_expression(options.label):
            return Match(0.95, "--label is a regular expression for paths")
        if options.label is not None:
            return Match(0.4, "--label could be a regular expression for paths")
        classes = [folder for folder in filled if folder.parts]
        if len(classes) > 1:
            return Match(0.7, f"files in folders such as {classes[0].name}/ and {classes[1].name}/")
        if _guessed(filled) is not None:
            return Match(0.32, f"files in one folder, whose names may begin with the label: {filled[0].files[0]}")
        if classes:
            return Match(0.3, f"files in one folder only, {classes[0].name}/")
        return Match(0.1, f"{len(filled[0].files)} files directly in the folder, not in a folder for each class")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        folders = list(walk(path, options.suffixes))
        if options.label is not None:
            layout, examples, findings = _by_pattern(path, folders, options.label)
        elif (guessed := _guessed([folder for folder in folders if folder.files])) is not None:
            layout, examples, findings = _by_names(guessed, folders)
        else:
            layout, examples, findings = _by_folder(folders)
            examples, listed = divided(path, examples)
            findings += listed
        examples, ungrouped = grouped(path, examples, options.group)
        return assemble(path, layout, examples, [*findings, *ungrouped, *troubles(folders)])


def _by_folder(folders: Sequence[Folder]) -> tuple[str, list[Example], list[Finding]]:
    layout = arrange({folder.parts for folder in folders if folder.files})
    examples = [
        Example(home / file, place.label, place.split)
        for folder in folders
        if (place := layout.places.get(folder.parts)) is not None
        for home in [Path(folder.path)]
        for file in folder.files
    ]
    findings = [*layout.findings, *_unlabelled(folders, layout), *_decoys(folders), *_other_suffixes(folders)]
    return layout.words, examples, findings


def _unlabelled(folders: Sequence[Folder], layout: Layout) -> list[Finding]:
    findings = []
    bare = _files_in(folders, set(layout.unlabelled))
    beside = _files_in(folders, set(layout.beside))
    if bare:
        message = f"{len(bare)} files lie in no class folder, so they are unlabelled and left out"
        findings.append(Finding("unlabelled", message, tuple(bare)))
    if beside:
        message = f"{len(beside)} files lie beside the split folders, so they are left out"
        findings.append(Finding("beside-splits", message, tuple(beside)))
    return findings


def _files_in(folders: Sequence[Folder], wanted: set[tuple[str, ...]]) -> list[str]:
    return [folder.below(file) for folder in folders if folder.parts in wanted for file in folder.files]


def _decoys(folders: Sequence[Folder]) -> list[Finding]:
    """The outermost folders that hold no readable file at any depth."""
    filled = {folder.parts[:end] for folder in folders if folder.files for end in range(len(folder.parts) + 1)}
    empty = [f for f in folders if f.parts not in filled and f.parts[:-1] in filled and not f.troubles]
    if not empty:
        return []
    held = [f"{f.name}/ ({census(f.others)})" if f.others else f"{f.name}/" for f in empty]
    return [Finding("decoy-folder", "Folders without a readable file are not taken for classes", tuple(held))]


def _other_suffixes(folders: Sequence[Folder]) -> list[Finding]:
    """Files that lie among readable ones; those beside the class folders are no news."""
    others = [(folder, name) for folder in folders if folder.files and folder.parts for name in folder.others]
    if not others:
        return []
    kinds = census([name for _, name in others])
    message = f"{len(others)} files in class folders are ignored for their suffix ({kinds})"
    return [Finding("ignored-suffix", message, tuple(folder.below(name) for folder, name in others))]


def _guessed(filled: Sequence[Folder]) -> Guess | None:
    """The part of the names that is the label, where there is one folder of files, and so none for each class."""
    return guess(filled[0].files) if len(filled) == 1 else None


def _by_names(guessed: Guess, folders: Sequence[Folder]) -> tuple[str, list[Example], list[Finding]]:
    (home,) = (folder for folder in folders if folder.files)
    labels = {file: guessed.label(file) for file in home.files}
    examples = [Example(Path(home.path, file), label) for file, label in labels.items() if label is not None]
    findings = [guessed.finding(next(file for file, label in labels.items() if label is not None))]
    others = tuple(home.below(file) for file, label in labels.items() if label is None)
    if others:
        message = f"{len(others)} files have names of another form and are left out"
        findings.append(Finding("unmatched", message, others))
    return f"part {guessed.part + 1} of the file names", examples, findings


def _by_pattern(root: Path, folders: Sequence[Folder], text: str) -> tuple[str, list[Example], list[Finding]]:
    """Labels from the paths by --label; split folders still count, and need no class folders inside them."""
    regex = pattern(text, "--label")
    splits = find_splits({folder.parts for folder in folders if folder.files}, 0, labels_below=False)
    examples: list[Example] = []
    failed: list[str] = []
    for folder in folders:
        home = Path(folder.path)
        at = splits.position if splits else 0
        split = splits.names.get(folder.parts[at]) if splits and len(folder.parts) > at else None
        for file in folder.files:
            label = captured(regex, folder.below(file))
            if label is None:
                failed.append(folder.below(file))
            else:
                examples.append(Example(home / file, label, split))
    if failed and not examples:
        raise DataError(nothing_matches(root, "--label", text, failed))
    findings = []
    if failed:
        message = f"{len(failed)} files do not match --label {text!r} and are left out"
        findings.append(Finding("unmatched", message, tuple(failed)))
    return f"labels taken from the paths by --label {text!r}", examples, findings
