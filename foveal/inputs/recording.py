"""Recording: a sound in which things are to be found <-> (N, 3, S, columns) float32, as wide as it is long.

Knows how long and how wide its window is; all else is that of sounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from foveal.inputs._sounds import Sounds

# Columns a second of a plane 128 high, and how many there are at most; a multiple of what the coarsest map halves.
_COLUMNS_A_SECOND, _MOST_COLUMNS, _STEP = 50, 1024, 32
_USUAL = 128
# Cells that explanations erase: more along time.
_GRID = (4, 16)


@dataclass(frozen=True)
class Recording(Sounds):
    """A window in which all files fit, a minute at most."""

    seconds: float = 10.0
    fitting = 1.0
    longest = 60.0
    narrowest = 480

    @property
    def columns(self) -> int:
        wanted = min(self.seconds * _COLUMNS_A_SECOND, _MOST_COLUMNS) * self.size / _USUAL
        return max(_STEP, _STEP * round(wanted / _STEP))

    def grid(self) -> tuple[int, ...]:
        return _GRID
