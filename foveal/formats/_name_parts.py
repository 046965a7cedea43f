"""Which part of the names of files that lie in one folder is their label, such as `7` of `7_jackson_32.wav`.

Knows names only; what is guessed is said, so that a person can say otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from foveal.formats._names import listed, natural_key, tidy
from foveal.types import Finding

_MARKS = re.compile(r"[_\-. ]+")
_FEWEST_FILES, _MOST_CLASSES, _FEWEST_EACH = 8, 100, 2
# A part that takes more values than this share of the files is a number of each.
_MOST_VALUES = 0.2


class Guess(NamedTuple):
    """part: which one of a name is the label, from 0; values: how often each value of each part stands there."""

    part: int
    values: tuple[Counter[str], ...]

    def label(self, file: str) -> str | None:
        """None where the name has another form than most."""
        parts = _parts(file)
        return tidy(parts[self.part]) if len(parts) == len(self.values) else None

    def finding(self, file: str) -> Finding:
        """What was guessed, by the example of a file, and what else the names say."""
        parts, own = _parts(file), self.values[self.part]
        others = [
            f"part {number + 1}, such as {parts[number]!r}, takes {len(values)} values"
            for number, values in enumerate(self.values)
            if number != self.part and len(values) > 1
        ]
        return Finding(
            "guessed-label",
            f"Labels are guessed from part {self.part + 1} of the file names, {parts[self.part]!r} of {file}: "
            f"{len(own)} values, {listed(sorted(own, key=natural_key), 10)}{''.join(f'; {one}' for one in others)}. "
            f"Where that is wrong, say what a label is with --label REGEX, and what belongs together, such as one "
            f"speaker, with --group REGEX",
        )


def guess(files: Sequence[str]) -> Guess | None:
    """By the form that most names have: the first part that takes few values, each more than once."""
    names = [_parts(file) for file in files]
    if not names:
        return None
    length, alike = Counter(map(len, names)).most_common(1)[0]
    if alike < _FEWEST_FILES or 2 * alike <= len(names) or length < 2:
        return None
    values = tuple(map(Counter, zip(*(parts for parts in names if len(parts) == length), strict=True)))
    most = min(_MOST_CLASSES, _MOST_VALUES * alike)
    fitting = (n for n, own in enumerate(values) if 2 <= len(own) <= most and min(own.values()) >= _FEWEST_EACH)
    part = next(fitting, None)
    return None if part is None else Guess(part, values)


def _parts(file: str) -> list[str]:
    return [part for part in _MARKS.split(Path(file).stem) if part]
