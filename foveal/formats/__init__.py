"""Disk -> Dataset: one file a layout, and `read`, which tells them apart.

Knows which layouts there are and which one a folder is. Class ids, if a layout has any, never leave this package.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from foveal.errors import DataError
from foveal.formats import series, text_lines, text_table
from foveal.formats._dataset import describe
from foveal.formats._files import census, walk
from foveal.formats._held import could_hold, head_of
from foveal.formats._probes import SUFFIXES
from foveal.formats.box_table import BoxTables
from foveal.formats.coco import Coco, CocoMasks
from foveal.formats.events import EventFiles, EventTables
from foveal.formats.folder import ClassFolders
from foveal.formats.listing import Lists
from foveal.formats.masks import Masks
from foveal.formats.series import SeriesArrays, SeriesFiles
from foveal.formats.table import Tables
from foveal.formats.text_folder import TextFolders
from foveal.formats.text_lines import FilesOfLines, LabelledLines, ParallelLines
from foveal.formats.text_table import TextLists, TextTables
from foveal.formats.voc import Voc
from foveal.formats.yolo import Yolo, YoloMasks
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Finding, Passage

FORMATS: tuple[Format, ...] = (
    ClassFolders(),
    Tables(),
    Lists(),
    Coco(),
    Voc(),
    Yolo(),
    BoxTables(),
    Masks(),
    CocoMasks(),
    YoloMasks(),
    EventTables(),
    EventFiles(),
    SeriesFiles(),
    SeriesArrays(),
    TextTables(),
    TextLists(),
    LabelledLines(),
    FilesOfLines(),
    ParallelLines(),
    TextFolders(),
)

_LEAST = 0.25
_WORTH_TELLING = 0.5
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def read(path: Path, options: FormatOptions) -> Dataset:
    """The labelled examples of a folder or table, whichever layout it is.

    Raises DataError where there is no such path, no layout fits, two fit equally well, nothing is labelled, or all
    of one class; UsageError where --label or --group is not a regular expression though one is needed.
    """
    _require(path)
    asked = [layout for layout in FORMATS if _is_asked(layout, options)]
    matches = [(layout, layout.detect(path, options)) for layout in asked]
    matches.sort(key=lambda pair: -pair[1].confidence)
    (best, match), *others = matches
    if match.confidence < _LEAST:
        raise DataError(_nothing_fits(path, options, matches))
    rivals = [(layout, other) for layout, other in others if other.confidence == match.confidence]
    if rivals:
        both = "".join(f"\n  {layout.name}: {other.why}" for layout, other in [(best, match), *rivals])
        raise DataError(f"{path}: can be read in several ways:{both}\nGive the table or list file itself as DATA.")
    dataset = best.read(path, options)
    also = tuple(
        Finding("other-layout", f"Read as {best.name}; {layout.name} would be another way to read it ({other.why})")
        for layout, other in others
        if other.confidence >= _WORTH_TELLING and (layout.labels != "classes" or best.labels == "classes")
    )
    return replace(dataset, findings=(*dataset.findings, *also), labels=best.labels)


def held_in(path: Path, options: FormatOptions) -> list[Path]:
    """The things that a file holds, of the kinds that are wanted and without labels; the file itself where it holds
    none, or is one of them."""
    for kind, find in _HELD.items():
        if kind in (options.held or ()) and path.is_file() and path.suffix.lower() != kind:
            found = find(path, options)
            if found:
                return [*found]
    return [path]


def _texts_in(path: Path, options: FormatOptions) -> list[Passage]:
    """By a header that names a column of texts, else by labels that lines begin with, else by what columns hold."""
    return (
        text_table.unlabelled(path, options, named=True)
        or text_lines.unlabelled(path)
        or text_table.unlabelled(path, options, named=False)
    )


_HELD = {text_table.KIND: _texts_in, series.KIND: series.unlabelled}


def _is_asked(layout: Format, options: FormatOptions) -> bool:
    """Whether it gives labels and things of the kinds that are wanted."""
    if options.labels not in (None, layout.labels):
        return False
    return options.held is None or (bool(options.suffixes) if layout.held is None else layout.held in options.held)


def _require(path: Path) -> None:
    try:
        there, empty = path.exists(), path.is_dir() and not any(path.iterdir())
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}; check its permissions.") from None
    if not there:
        raise DataError(f"{path}: there is no such file or folder (looked in {path.absolute().parent}).")
    if empty:
        raise DataError(f"{path}: the folder is empty; expected a folder of files for each class, or a table.")
    if path.is_dir():
        return
    if path.suffix.lower() in _ARCHIVES:
        raise DataError(f"{path}: an archive; unpack it and give the folder.")
    if path.suffix.lower() != ".npz" and (not could_hold(path.name) or b"\0" in head_of(path)):
        raise DataError(
            f"{path}: expected a folder with a folder of files for each class, or a table or list file "
            f"({' '.join(SUFFIXES)}); found a single {path.suffix or 'suffixless'} file. Give the folder around it."
        )


def _nothing_fits(path: Path, options: FormatOptions, matches: list[tuple[Format, Match]]) -> str:
    looked = "".join(f"\n  {layout.name}: {match.why}" for layout, match in matches)
    if path.is_file():
        return (
            f"{path}: not a table with a file and a label column, nor a list of `path label` lines whose files are "
            f"there. Looked for:{looked}\nPaths are taken relative to the file."
        )
    names = [name for folder in walk(path, options.suffixes) for name in (*folder.files, *folder.others)]
    held = f"{len(names)} files ({census(names)})" if names else "only empty folders"
    return (
        f"{path}: no known layout of labelled files; found {held}. Looked for:{looked}\n"
        "Expected a folder of files for each class (cat/1.jpg, dog/2.jpg), also under train/ and test/; or a table "
        "with a file and a label column; or --label REGEX for labels that are part of the file names; or boxes in "
        "COCO's JSON, Pascal VOC's XML or YOLO's text files; or masks/1.png for images/1.png; or a table with file, "
        "onset, offset and label of each sound event; or a table of texts or of series of numbers, with a label in "
        "each row."
    )


__all__ = ["FORMATS", "describe", "held_in", "read"]
