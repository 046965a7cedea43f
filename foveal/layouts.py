"""What each layout of data on disk must promise: Format, and what it is told.

Knows no layout; those are in `formats/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from foveal.types import Dataset


class Match(NamedTuple):
    """How well a format fits a path: 0 no, 1 certainly; and why, for the message when several fit."""

    confidence: float
    why: str


@dataclass(frozen=True)
class FormatOptions:
    """What a person says about the data on the command line. `suffixes` are those that some Input reads.

    labels: the kind that a task's target takes (`Target.labels`); held: of which kinds (`Passage.kind`) what is held
    in files may be; each None where the data are to say which. text: the column with the texts.
    """

    suffixes: tuple[str, ...]
    label: str | None = None
    group: str | None = None
    text: str | None = None
    labels: str | None = None
    held: tuple[str, ...] | None = None


class Format(ABC):
    """One layout on disk -> Dataset. Reads names and tables only, never decodes; class ids stay inside."""

    name: str
    labels: str = "classes"
    """The kind of label that its examples have: "classes" (a name), "boxes" (a tuple of Box)."""
    held: str | None = None
    """The kind of its examples where they are no files of their own (`types.Passage.kind`)."""

    @abstractmethod
    def detect(self, path: Path, options: FormatOptions) -> Match:
        """Whether `path` looks like this layout; cheap, and never raises on odd files."""

    @abstractmethod
    def read(self, path: Path, options: FormatOptions) -> Dataset:
        """Every labelled example. Raises DataError with file and line when the layout is this but broken."""
