"""Audio: a sound that has a class as a whole <-> (N, 3, S, S) float32.

Knows how long and how wide its window is; all else is that of sounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from foveal.inputs._sounds import Sounds


@dataclass(frozen=True)
class Audio(Sounds):
    """A window in which 95 % of the files fit, 10 seconds at most."""

    fitting = 0.95
    longest = 10.0

    def from_nothing(self) -> Self:
        return replace(self, roughly=True)

    @property
    def columns(self) -> int:
        return self.size
