"""One raster file -> (H, W, C) float32 in the file's own units: .npy, and TIFFs of any number of bands.

Knows the two formats and what goes wrong in them. Does not standardise or resize, and never unpickles.
"""

from __future__ import annotations

import contextlib
import struct
import tokenize
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveal.errors import DataError
from foveal.inputs import _tiff

if TYPE_CHECKING:
    from tifffile import TiffFile

SUFFIXES = (".npy", ".npz", *_tiff.SUFFIXES)
"""With .npz, which is refused in words; unlisted it would pass for a file of no interest."""

# 2 GiB as float32: a picture of 179 megapixels and 3 channels, or 40 megapixels of 13 bands.
_MOST_VALUES = 2**29
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_DAMAGE = (
    ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, OSError, EOFError, SyntaxError, MemoryError,
    AttributeError, AssertionError, struct.error, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What numpy and tifffile may raise for damaged bytes; neither says, so this is the range of what is not ours."""


def decode(source: Path) -> np.ndarray:
    """The raster as (H, W, C) float32, in the file's own units.

    Of a TIFF with several pages the bands are the pages where these are alike and gray, else the samples of the
    first. Raises DataError naming the file: missing, of another kind, damaged, larger than 2 GiB, or with values
    that are no finite numbers.
    """
    kind = _kind(source)
    with _named(source):
        values = _from_npy(source) if kind == _NPY else _from_tiff(source)
        raster = np.array(values, np.float32, order="C")
    if not np.isfinite(raster).all():
        row, column, band = (int(i) for i in np.argwhere(~np.isfinite(raster))[0])
        raise DataError(
            f"{source}: expected finite numbers in the range of float32, found {values[row, column, band]} in row "
            f"{row}, column {column}, band {band}, counted from 0; replace what is missing by a number"
        )
    return raster


def shape(source: Path) -> tuple[int, int, int] | None:
    """Height, width and bands, from the file's header alone; None where it cannot be read."""
    try:
        kind = _kind(source)
        with _named(source):
            if kind == _NPY:
                height, width, bands = _from_npy(source).shape
                return height, width, bands
            with _tiff.opened(source) as tiff:
                return _tiff.shape(_tiff.band_pages(tiff))
    except DataError:
        return None


def is_raster(source: Path) -> bool:
    """Whether a file is to be read as bands: by its name and, of a TIFF, its header. A damaged TIFF may be,
    so that one such file decides nothing."""
    suffix = source.suffix.lower()
    return suffix in SUFFIXES and (suffix not in _tiff.SUFFIXES or _says(source, _tiff.holds_bands))


def is_picture(source: Path) -> bool:
    """Whether a TIFF can be read as a picture, if only its first page. A damaged one may be."""
    return _says(source, _tiff.holds_picture)


def has_pages(source: Path) -> bool:
    """Whether this is a TIFF whose bands are its pages; its first page alone would be a picture."""
    several = source.suffix.lower() in _tiff.SUFFIXES
    return several and _says(source, lambda tiff: len(_tiff.band_pages(tiff)) > 1, damaged=False)


def _says(source: Path, question: Callable[[TiffFile], bool], *, damaged: bool = True) -> bool:
    """What a TIFF's header answers; `damaged` where it cannot be read."""
    try:
        _kind(source)
        with _named(source), _tiff.opened(source) as tiff:
            return question(tiff)
    except DataError:
        return damaged


def _kind(source: Path) -> bytes:
    """The first bytes, which tell the formats apart whatever a file is called."""
    try:
        with source.open("rb") as file:
            head = file.read(6)
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be opened ({error.strerror}); expected one raster file") from error
    if not head:
        raise DataError(f"{source}: the file is empty")
    if head[:4] == _ZIP:
        raise DataError(f"{source}: an archive, as .npz is; save each of its arrays as a .npy file (numpy.save)")
    if head != _NPY and head[:4] not in _tiff.STARTS:
        raise DataError(f"{source}: not a raster that can be read; expected .npy or TIFF")
    return head


@contextlib.contextmanager
def _named(source: Path) -> Iterator[None]:
    """Errors of the libraries as DataErrors with the file's name, and their warnings as nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _DAMAGE as error:
        raise DataError(f"{source}: the raster is damaged or of a kind that is not read ({error})") from error


def _from_npy(source: Path) -> np.ndarray:
    """(H, W, C) in the file's dtype, mapped: a header that promises more than the file holds costs no memory.

    Refuses pickled objects, as these cannot be mapped.
    """
    array = np.lib.format.open_memmap(source, mode="r")
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3) or not array.size:
        raise ValueError(f"shape {array.shape} of type {array.dtype}; expected real numbers along 2 or 3 axes")
    _bound(array.shape)
    return _bands_last(array)


def _bands_last(array: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, C) or (C, H, W) -> (H, W, C); the first axis is the bands' where it is the only shortest."""
    if array.ndim == 2:
        return array[:, :, None]
    first, *others = array.shape
    return np.moveaxis(array, 0, 2) if first < min(others) else array


def _from_tiff(source: Path) -> np.ndarray:
    """(H, W, C) in the file's dtype."""
    with _tiff.opened(source) as tiff:
        pages = _tiff.band_pages(tiff)
        _bound(_tiff.shape(pages))
        return _tiff.values(pages)


def _bound(shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape, dtype=object))
    if not 0 < count <= _MOST_VALUES:
        raise ValueError(f"shape {shape}, that is {count:,} values; 1 to {_MOST_VALUES:,} are read")
