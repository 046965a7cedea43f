"""Audio: a sound that has a class as a whole <-> (N, 3, S, S) float32.

Knows how long and how wide its window is; all else is that of sounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from foveal.inputs._sounds import Sounds


@dataclass(frozen=True)
class Audio(Sounds):
    """A window in which 95 % of the files fit, 10 seconds at most."""

    fitting = 0.95
    longest = 10.0

    @property
    def columns(self) -> int:
        return self.size
