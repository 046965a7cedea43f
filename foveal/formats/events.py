"""Sound events: a table with a row for each event, or for each recording a text file of the same name.

Knows which columns say when something begins and ends; what becomes of it is `_events.py`. No sound is decoded here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from foveal.errors import DataError
from foveal.formats._boxes import counted, finite
from foveal.formats._cells import normalise, read_sheet, read_text
from foveal.formats._columns import KNOWN_COLUMNS, LABEL_COLUMNS
from foveal.formats._events import Heard, Track, are_within, gather
from foveal.formats._files import Folder, nfc, troubles, walk
from foveal.formats._names import tidy
from foveal.formats._parts import by_folders
from foveal.formats._probes import Probe, are_splits, meant, splits_of
from foveal.layouts import Format, FormatOptions, Match
from foveal.types import Dataset, Finding

_ONSETS = (
    "onset",
    "start",
    "begin",
    "from",
    "start_time",
    "begin_time",
    "starttime",
    "onset_time",
    "t_start",
    "tmin",
)
_OFFSETS = ("offset", "end", "stop", "to", "end_time", "stop_time", "endtime", "offset_time", "t_end", "tmax")
_DURATIONS = ("duration", "length", "dur")
_LABELS = ("event_label", "event", "event_class", "event_type", "annotation", "sound_event", "code", "common_name")
_UNIT = re.compile(r"_(s|sec|secs|seconds|in_seconds|ms|msec|milliseconds)$")
_MILLISECONDS = ("ms", "msec", "milliseconds")

_SUFFIXES = (".txt", ".tsv", ".csv", ".lab", ".ann", ".label", ".labels")
# What the name of such a file has more than that of its recording.
_ENDINGS = re.compile(r"(?:\.table\.1)?(?:[ ._-](?:selections|labels?|annotations?|events?|annot))$", re.IGNORECASE)
_ONLY = "event"
_TOLD_OF_TABLES = {
    "no-recording": "rows name recordings that are not there and are left out",
    "no-event": "rows have times that are no numbers, or no class, and are left out",
    "not-in-table": "recordings that the table does not name are left out",
}
_TOLD_OF_FILES = {
    "no-event": "lines say no event (onset, offset and class) and are passed over",
    "no-events-file": "recordings have no file of events and are left out",
}
_LOOKED_AT, _LINES = 20, 50
# How well what has onsets and offsets fits where these are no parts of recordings: only if nothing else does.
_ODD = 0.3


class _Columns(NamedTuple):
    """Where in a row the times and the class stand, and by what times are multiplied; lasts: the second time is how
    long it lasts."""

    onset: int
    offset: int
    label: int | None
    unit: float
    lasts: bool


class EventTables(Format):
    """A table with a recording's name, onset, offset (or duration) and class in each row; a row without times is a
    recording in which nothing sounds."""

    name = "table of events"
    labels = "masks"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        probes = meant(path, options, _holds_events)
        if not probes:
            return Match(0, "no table that has columns for onset and offset beside the names of recordings")
        where = ", ".join(probe.path.name for probe in probes)
        if len(probes) > 1 and not are_splits(probes):
            return Match(0.55, f"several tables of events, and nothing says which one counts: {where}")
        if probes[0].columns.found == 0:
            return Match(0.6, f"{where}: has columns for events, but names no recording that is there")
        try:
            rows = _Rows(probes[0], head=True)
        except DataError as error:
            return Match(_ODD, str(error))
        within = are_within(rows.tracks())
        if not within:
            odd = 0.0 if within is None else _ODD
            return Match(odd, f"{where}: its times are no parts of the recordings that it names")
        return Match(0.94, f"{where}: a row for each event")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        probes = meant(path, options, _holds_events)
        if len(probes) > 1 and not are_splits(probes):
            names = "".join(f"\n  {probe.path}" for probe in probes)
            raise DataError(f"{path}: several tables of events; give the one to use as DATA:{names}")
        root = path if path.is_dir() else path.parent
        tracks, findings, met = list[Track](), list[Finding](), {kind: list[str]() for kind in _TOLD_OF_TABLES}
        for probe in probes:
            rows = _Rows(probe)
            tracks += rows.tracks()
            findings += rows.findings
            for kind, own in rows.met.items():
                met[kind] += own
        if path.is_dir():
            named = {track.source for track in tracks}
            files = (Path(folder.path, file) for folder in walk(root, options.suffixes) for file in folder.files)
            met["not-in-table"] += [str(file) for file in files if file not in named]
        layout = f"table of events {', '.join(probe.path.name for probe in probes)}"
        return gather(root, layout, tracks, [*findings, *counted(met, _TOLD_OF_TABLES)], options)


class EventFiles(Format):
    """`1.wav` and `1.txt` (also in `labels/` or `annotations/`) with `onset offset class` on each line, as Audacity,
    Raven and DCASE write them."""

    name = "files of events"
    labels = "masks"

    def detect(self, path: Path, options: FormatOptions) -> Match:
        if not path.is_dir():
            return Match(0, "not a folder")
        pairs, _ = _paired(list(walk(path, options.suffixes)))
        some = list(islice(pairs.items(), _LOOKED_AT))
        tracks = [Track(sound, list(_events(own, head=True, met=[]))) for sound, own in some]
        filled = [track for track in tracks if track.events]
        if not filled:
            return Match(0, "no recording has a text file of its name with lines of onset, offset and class")
        first = some[tracks.index(filled[0])]
        within = are_within(tracks)
        if not within:
            odd = 0.0 if within is None else _ODD
            return Match(odd, f"the times in {first[1].name} and others are no parts of their recordings")
        return Match(0.92, f"events of {first[0].name} in {first[1].name}, and likewise")

    def read(self, path: Path, options: FormatOptions) -> Dataset:
        folders = list(walk(path, options.suffixes))
        pairs, alone = _paired(folders)
        met = {"no-event": list[str](), "no-events-file": [str(sound) for sound in alone]}
        tracks = [
            Track(sound, list(_events(own, head=False, met=met["no-event"])), by_folders(path, sound))
            for sound, own in pairs.items()
        ]
        findings = [*counted(met, _TOLD_OF_FILES), *troubles(folders)]
        return gather(path, "files of events beside recordings", tracks, findings, options)


def _holds_events(header: Sequence[str]) -> bool:
    return _columns(header) is not None


def _columns(header: Sequence[str], label: str | None = None) -> _Columns | None:
    """By the names of columns; None where no two of them are times."""
    names = [normalise(column) for column in header]
    bare = [_UNIT.sub("", name) for name in names]
    onset = _first(bare, _ONSETS)
    offset, lasts = _first(bare, _OFFSETS), False
    if offset is None:
        offset, lasts = _first(bare, _DURATIONS), True
    if onset is None or offset is None:
        return None
    said = header.index(label) if label in header else _first(names, (*_LABELS, *LABEL_COLUMNS))
    unit = _UNIT.search(names[onset])
    return _Columns(onset, offset, said, 0.001 if unit and unit[1] in _MILLISECONDS else 1.0, lasts)


def _first(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _event(where: str, cells: Sequence[str], columns: _Columns) -> Heard | None:
    """None where the row says none."""
    needed = max(columns.onset, columns.offset, columns.label or 0)
    if len(cells) <= needed:
        return None
    onset, offset = finite(cells[columns.onset]), finite(cells[columns.offset])
    label = _ONLY if columns.label is None else tidy(cells[columns.label])
    if onset is None or offset is None or not label:
        return None
    onset, offset = onset * columns.unit, offset * columns.unit
    return Heard(where, label, onset, onset + offset if columns.lasts else offset)


class _Rows:
    """A table of events, read."""

    def __init__(self, probe: Probe, head: bool = False) -> None:
        sheet = read_sheet(probe.path, KNOWN_COLUMNS, head=head)
        columns = _columns(sheet.header, probe.columns.label)
        assert columns is not None
        assert probe.columns.file is not None
        self.met = {kind: list[str]() for kind in _TOLD_OF_TABLES}
        parts, dropped, told = splits_of(sheet, probe.columns.split)
        self.findings = [*sheet.findings, *told]
        if columns.label is None:
            message = f"{probe.path.name} has no column of classes, so all events are of one, {_ONLY!r}"
            self.findings.append(Finding("one-class", message))
        self._events = defaultdict[Path, list[Heard]](list)
        self._parts: dict[Path, str | None] = {}
        files = sheet.column(probe.columns.file)
        for at, (line, cells) in enumerate(sheet.rows):
            where = f"{sheet.path}, line {line}"
            found = None if at in dropped else probe.finder.find(files[at])
            if found is None:
                if at not in dropped:
                    self.met["no-recording"].append(f"{where}: {files[at] or 'no name'}")
                continue
            source = Path(found)
            self._parts[source] = parts[at] or self._parts.get(source) or by_folders(probe.finder.root, source)
            event, own = _event(where, cells, columns), self._events[source]
            if event is not None:
                own.append(event)
            elif cells[columns.onset] or cells[columns.offset]:
                self.met["no-event"].append(where)

    def tracks(self) -> list[Track]:
        return [Track(source, own, self._parts[source]) for source, own in sorted(self._events.items())]


def _paired(folders: Sequence[Folder]) -> tuple[dict[Path, Path], list[Path]]:
    """Recordings and their files of events, by name: in the same folder, else the only one of that name; and those
    that have none, in folders where others do."""
    beside = dict[tuple[str, str], Path]()
    anywhere = defaultdict[str, list[Path]](list)
    for folder in folders:
        for file in (*folder.others, *folder.files):
            if file.lower().endswith(_SUFFIXES):
                stem = _ENDINGS.sub("", nfc(Path(file).stem))
                beside[folder.path, stem] = Path(folder.path, file)
                anywhere[stem].append(Path(folder.path, file))
    found, alone = dict[Path, Path](), list[Path]()
    for folder in folders:
        for file in folder.files:
            if not file.lower().endswith(_SUFFIXES):
                stem, sound = nfc(Path(file).stem), Path(folder.path, file)
                own = beside.get((folder.path, stem)) or _only(anywhere[stem])
                if own is None:
                    alone.append(sound)
                else:
                    found[sound] = own
    homes = {sound.parent for sound in found}
    return dict(sorted(found.items())), sorted(sound for sound in alone if sound.parent in homes)


def _only(paths: Sequence[Path]) -> Path | None:
    return paths[0] if len(paths) == 1 else None


def _events(path: Path, *, head: bool, met: list[str]) -> Iterator[Heard]:
    """Of one recording's file; lines that say none are added to `met`."""
    columns = _Columns(0, 1, 2, 1.0, lasts=False)
    lines = read_text(path, head)[0].splitlines()[: _LINES if head else None]
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(("\\", "#")):  # Audacity's frequencies, remarks
            continue
        cells, where = _cells(line), f"{path}, line {number}"
        event = _event(where, cells, columns)
        if event is not None:
            yield event
        elif number == 1 and (named := _columns(cells)) is not None:
            columns = named
        else:
            met.append(f"{where}: {line.strip()[:60]}")


def _cells(line: str) -> list[str]:
    """By tabs, else commas or semicolons, else spaces, of which a class may have some."""
    for mark in ("\t", ",", ";"):
        if mark in line:
            return [cell.strip().strip('"') for cell in line.split(mark)]
    return line.split(maxsplit=2)
