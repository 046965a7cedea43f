"""Recordings with events as some file states them -> a Dataset: what sounds in each frame, what is no event told.

Knows seconds and classes; does not know in which layout they were written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from foveal.errors import DataError
from foveal.formats._boxes import counted
from foveal.formats._dataset import assemble
from foveal.formats._mask_values import BACKGROUND
from foveal.formats._names import natural_key
from foveal.formats._patterns import grouped
from foveal.headers import sound_header
from foveal.layouts import FormatOptions
from foveal.types import FRAMES_A_SECOND, VOID, Dataset, Example, Finding, Mask

# What ends so little after its recording does is rounded.
_SLACK_SECONDS = 0.1
# Of an event that says where a recording was cut out of a longer one, nothing or all of the recording is left.
_ALL, _LOOKED_AT = 0.95, 30
_TOLD = {
    "unreadable-length": "recordings cannot be read, so their events are not checked against their length",
    "no-length": "events do not end after they begin and are left out",
    "outside": "events lie outside their recording and are left out",
    "sticks-out": "events end after their recording and are cut off there",
    "at-once": "events begin while one of another class sounds; from there on the later one counts",
}


class Heard(NamedTuple):
    """One event, in seconds from the beginning; where: file and line."""

    where: str
    label: str
    onset: float
    offset: float


class Track(NamedTuple):
    """One recording and its events."""

    source: Path
    events: Sequence[Heard]
    split: str | None = None


def gather(
    root: Path, layout: str, tracks: Sequence[Track], findings: Sequence[Finding], options: FormatOptions
) -> Dataset:
    """One example a recording. Raises DataError where no recording is left, none has an event, or there are more
    classes than a mask tells apart."""
    met: dict[str, list[str]] = {kind: [] for kind in _TOLD}
    kept = [(track, *_within(track, met)) for track in tracks]
    found = {event.label for _, _, events in kept for event in events}
    names = [BACKGROUND, *sorted(found - {BACKGROUND}, key=natural_key)]
    if len(names) > VOID:
        raise DataError(f"{root}: {len(names) - 1} classes of events, at most {VOID - 1} can be told apart.")
    arrays = [_painted(events, frames, names, met) for _, frames, events in kept]
    if arrays and all(array.all() for array in arrays):  # something sounds all the time
        names, arrays = names[1:], [array - 1 for array in arrays]
    examples = [
        Example(track.source, Mask.of(array, names), track.split)
        for (track, _, _), array in zip(kept, arrays, strict=True)
    ]
    examples, ungrouped = grouped(root, examples, options.group)
    told = [*findings, *ungrouped, *counted(met, _TOLD)]
    return assemble(root, layout, examples, told, names, unit="event", things="recordings")


def are_within(tracks: Sequence[Track]) -> bool | None:
    """Whether most of some events are parts of their recordings, and not what these were cut out of, or all of them:
    then the recording as a whole has the class. None where no recording with events can be read."""
    inside, some = list[bool](), [track for track in tracks if track.events][:_LOOKED_AT]
    for track in some:
        header = sound_header(track.source)
        if header is not None:
            for event in track.events:
                long = min(event.offset, header[1]) - max(event.onset, 0.0)
                inside.append(event.onset < header[1] and 0 < long < _ALL * header[1])
    return None if some and not inside else 2 * sum(inside) > len(inside)


def _within(track: Track, met: dict[str, list[str]]) -> tuple[int, list[Heard]]:
    """How many frames the recording has, and what is within them, in order of onset."""
    header = sound_header(track.source)
    if header is None:
        met["unreadable-length"].append(str(track.source))
    seconds = max((event.offset for event in track.events), default=1.0) if header is None else header[1]
    kept = list[Heard]()
    for event in sorted(track.events, key=lambda event: (event.onset, event.offset)):
        told = f"{event.where}: {event.label} {event.onset:g} to {event.offset:g} s"
        if not event.onset < event.offset:
            met["no-length"].append(told)
        elif event.offset <= 0 or event.onset >= seconds:
            met["outside"].append(f"{told} of {seconds:.3f}")
        else:
            if event.offset > seconds + _SLACK_SECONDS:
                met["sticks-out"].append(f"{told} of {seconds:.3f}")
            kept.append(event._replace(onset=max(event.onset, 0.0), offset=min(event.offset, seconds)))
    rate = FRAMES_A_SECOND if header is None else header[0]
    return max(1, math.ceil(round(seconds * rate) * FRAMES_A_SECOND / rate)), kept


def _painted(events: Sequence[Heard], frames: int, names: Sequence[str], met: dict[str, list[str]]) -> np.ndarray:
    """(1, frames) uint8: of which class each frame is; short events have one at least."""
    array = np.zeros((1, frames), np.uint8)
    for event in events:
        kind = names.index(event.label)
        start = min(round(event.onset * FRAMES_A_SECOND), frames - 1)
        place = array[0, start : max(start + 1, round(event.offset * FRAMES_A_SECOND))]
        if np.any((place != 0) & (place != kind)):
            met["at-once"].append(f"{event.where}: {event.label} at {event.onset:g} s")
        place[:] = kind
    return array
