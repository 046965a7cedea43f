"""Input: the raw thing <-> tensor. Knows no implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL.Image import Image as Canvas
from torch import Tensor, nn

from foveal.types import Cue, Disturbance, Draw, Finding, Packed, Pieces, Raw, Size, Stacked


class Input(ABC):
    """The raw thing <-> tensor. Implementations are frozen dataclasses of JSON-able fields."""

    dims: int
    """1 for sequences, 2 for planes: decides which nets and targets fit."""
    size: int
    """Length of a side of what the network sees, in pixels or samples."""
    suffixes: tuple[str, ...]
    """Lower-case file suffixes that this input reads, with the dot."""
    kinds: int = 0
    """Where x holds numbers of things that occur, and not amounts: what they go up to."""
    exact: bool = False
    """Whether what is packed is what the stem gives, to the bit."""
    sees_figures: bool = False
    """Whether what a network sees of it looks as it looks to people."""
    photographs: bool = False
    """Whether it looks as what published networks have learnt from looks."""
    in_files: bool = True
    """Whether each raw thing is a file, and not a part of one as a rule (`types.Passage`)."""
    raw_axes: Mapping[int, str]
    """The axes of `tensor` that differ from one raw thing to the next, and their names in an exported file."""

    @classmethod
    def unread(cls, sources: Sequence[Path]) -> Path | None:
        """The first of these files that this input is not for, by name or header; None where it is for all. A file
        that is damaged is for any input that its name fits."""
        return next((source for source in sources if source.suffix.lower() not in cls.suffixes), None)

    @abstractmethod
    def fit(self, sources: Sequence[Path], size: int | None) -> Self:
        """Learn what depends on the data (size unless given); a new value. Raises DataError where they do not fit."""

    def findings(self, sources: Sequence[Path]) -> tuple[Finding, ...]:
        """What people should be told of how this input, fitted, reads these files."""
        return ()

    @abstractmethod
    def load(self, source: Path) -> Raw:
        """Decode one file to raw coordinates, upright. Raises DataError naming the file and what is wrong."""

    @abstractmethod
    def blank(self) -> Raw:
        """A raw thing of ordinary size with nothing in it, to learn shapes from."""

    @abstractmethod
    def pack(self, raw: Raw) -> Packed:
        """What the training cache stores: small, of one dtype, decoded once."""

    def stack(self, packed: Sequence[Packed]) -> Stacked:
        """Packed things of one shape in one tensor."""
        sizes = torch.tensor([own.raw_size for own in packed], dtype=torch.int64)
        return Stacked(torch.from_numpy(np.stack([own.array for own in packed])), sizes)

    @abstractmethod
    def batch(self, stacked: Stacked, draw: Draw | None) -> tuple[Tensor, Pieces]:
        """A training batch, augmented by a draw, on the device of what is stacked, and its geometry, on the CPU."""

    @abstractmethod
    def tensor(self, raw: Raw) -> Tensor:
        """The raw thing as the tensor that `stem` and an exported file take."""

    @abstractmethod
    def pieces(self, raw_sizes: Tensor) -> Pieces:
        """The geometry that `stem` gives raw things of these sizes, (M, 2) int64 heights and widths."""

    @abstractmethod
    def stem(self) -> nn.Module:
        """The reference path, exported as it is: one raw tensor -> (x with a batch axis of 1, its Pieces)."""

    def shape(self) -> tuple[int, ...]:
        """Of one network input, without the batch axis: (C, ...)."""
        return tuple(self.stem()(self.tensor(self.blank()))[0].shape[1:])

    def seen(self, raw: Raw, stem: nn.Module) -> tuple[Tensor, Pieces]:
        """What the stem gives for a raw thing."""
        if not self.exact:
            return stem(self.tensor(raw))
        packed = self.pack(raw)
        return torch.from_numpy(packed.array)[None], self.pieces(torch.tensor([packed.raw_size]))

    def raw_size(self, source: Path) -> Size | None:
        """Of one file, by its header alone; None where that does not say it."""
        return None

    def own_size(self, sources: Sequence[Path]) -> int:
        """The size at which these files are seen as they are, as far as that is fast; for networks from nothing."""
        return self.size

    @abstractmethod
    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        """x without cells (N, g, g) bool, or (N, g): noise around the training mean if drawn, else what is near.

        Where none is drawn, x may be one (1, ...) for all N.
        """

    def grid(self) -> tuple[int, ...]:
        """How many cells explanations erase along each axis."""
        return (7, 7) if self.dims == 2 else (min(32, self.size),)

    def swapped(self, raw: Raw) -> Raw | None:
        """The raw thing with left and right swapped; None where that means nothing, or augmentation never does it."""
        return None

    def one_sided(self) -> Self:
        """The same input, whose augmentation leaves left and right as they are; a new value."""
        return self

    def rarely_erased(self) -> Self:
        """The same input, whose augmentation hides little: what is hidden cannot be found; a new value."""
        return self

    def in_parts(self) -> Self | None:
        """The same at the same scale, a batch with a draw showing a part of each; None where all is shown whole."""
        return None

    def from_nothing(self) -> Self:
        """The same input, augmented as suits networks that begin with nothing; a new value."""
        return self

    def disturbed(self, raw: Raw) -> Iterator[tuple[Disturbance, Raw]]:
        """The raw thing under each disturbance that should not alter what it is: the same ones in the same order."""
        return iter(())

    def cues(self) -> Mapping[str, Cue]:
        """Marks that can be planted to see whether explanations tell of them, by name."""
        return {}

    def altered(self, raw: Raw, window: Sequence[float] | None, change: Callable[[Raw], Raw]) -> Raw:
        """The raw thing with a change made to what lies in a window (left, top, right, bottom) in raw coordinates; to
        all of it where None."""
        assert window is None, f"{type(self).__name__} has no places"
        return change(raw)

    @abstractmethod
    def fingerprint(self, raw: Raw) -> int:
        """64 bits that are equal or a few bits apart for near duplicates."""

    @abstractmethod
    def sketch(self, raw: Raw) -> np.ndarray:
        """A small array of one axis, of the raw thing or of what was packed of it, for `resembles`."""

    @abstractmethod
    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether two things whose fingerprints are near are the same one, by their sketches."""

    def says_nothing(self, sketch: np.ndarray) -> bool:
        """Whether what has this sketch is the same throughout: one colour, silence, a flat line."""
        return False

    def traits(self, source: Path) -> Mapping[str, str]:
        """What a file says of itself that should have nothing to do with its label, by name."""
        return {"file type": source.suffix.lower()} if self.in_files else {}

    @abstractmethod
    def render(self, raw: Raw) -> Canvas:
        """A picture of the raw thing, for people, as large as `drawn_size` says."""

    def drawn_size(self, raw_size: Size) -> Size:
        return raw_size

    def played(self, raw: Raw) -> bytes | None:
        """An MP3 file of the raw thing; None where there is nothing to be heard."""
        return None

    def parted(self, raw: Raw, kept: np.ndarray) -> Mapping[str, bytes]:
        """WAV files of what cells (g, g) of the plane keep, from 0 to 1 ("only"), and of the rest ("without")."""
        return {}

    def named_cells(self, raw: Raw) -> tuple[str, ...]:
        """What each cell along the only axis is, in words; empty where cells are places in a picture."""
        return ()
