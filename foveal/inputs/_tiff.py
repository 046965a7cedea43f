"""TIFFs of any number of bands: which there are, what their headers say, and their values.

Knows tifffile, and which layouts are those of ordinary pictures. Errors are whatever tifffile raises; `_bands`
names the file.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

SUFFIXES = (".tif", ".tiff")
STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first four bytes of a TIFF: both byte orders, and BigTIFF."""

# Samples of colour by TIFF's photometric interpretation: white or black is zero, RGB, palette, CMYK, YCbCr, CIELab.
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
_GRAY = (0, 1)
_ALPHA = (1, 2)
_SEPARATE = 2


@contextlib.contextmanager
def opened(source: Path) -> Iterator[TiffFile]:
    """The file, its headers read. Raises ValueError where it is no TIFF."""
    import tifffile

    # Its warnings of odd tags go to stderr; what stops the reading is raised.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(source) as tiff:
            yield tiff
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error


def band_pages(tiff: TiffFile) -> list[TiffPage]:
    """The pages that hold the bands: all, where there are several, alike and of gray; else the first.

    Pages of a palette or of 1 bit are those of documents, and smaller ones copies of the first. Raises ValueError
    where the list of pages is cut short.
    """
    first = tiff.pages[0].aspage()
    gray = first.samplesperpixel == 1 and int(first.photometric) in _GRAY and first.dtype != np.bool_
    if not gray:
        return [first]
    pages = [page.aspage() for page in tiff.pages]
    _require_end(tiff)
    return pages if all(_layout(page) == _layout(first) for page in pages) else [first]


def _require_end(tiff: TiffFile) -> None:
    """tifffile ends the list of pages where the next would lie outside the file, as if it were one of fewer."""
    last = tiff.pages.next_page_offset
    assert last is not None, "all pages were listed"
    tiff.filehandle.seek(last)
    if any(tiff.filehandle.read(tiff.tiff.offsetsize)):
        raise ValueError("the file ends before its last page")


def _layout(page: TiffPage) -> tuple[object, ...]:
    return page.imagelength, page.imagewidth, page.samplesperpixel, page.dtype, page.photometric


def shape(pages: list[TiffPage]) -> tuple[int, int, int]:
    """Height, width and bands of what `values` gives."""
    page = pages[0]
    return page.imagelength, page.imagewidth, page.samplesperpixel if len(pages) == 1 else len(pages)


def holds_bands(tiff: TiffFile) -> bool:
    """Whether there is more than a picture in the file."""
    return len(band_pages(tiff)) > 1 or not holds_picture(tiff)


def holds_picture(tiff: TiffFile) -> bool:
    """Whether the samples of the first page are the colours of a picture, perhaps with one more for transparency."""
    page = tiff.pages[0].aspage()
    colours = _COLOURS.get(int(page.photometric), page.samplesperpixel)
    if colours > 1 and page.dtype not in (np.uint8, np.uint16):
        return False
    more = page.samplesperpixel - colours
    # Many programs call the fourth sample of RGBA unspecified.
    return more == 0 or (more == 1 and (colours > 1 or int(page.extrasamples[0]) in _ALPHA))


def values(pages: list[TiffPage]) -> np.ndarray:
    """(H, W, C) in the file's dtype. Raises ValueError where the values are no real numbers, or cannot be decoded."""
    page = pages[0]
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise ValueError(f"values of type {page.dtype}; expected real numbers")
    planes = [_decoded(own) for own in pages]
    if page.samplesperpixel == 1:
        return np.stack(planes, axis=2)
    return np.moveaxis(planes[0], 0, 2) if page.planarconfig == _SEPARATE else planes[0]


def _decoded(page: TiffPage) -> np.ndarray:
    """The page's pixels, in its own order of axes."""
    import tifffile

    try:
        return page.asarray(maxworkers=1)
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise ValueError(
            f"compressed by {tifffile.COMPRESSION(page.compression).name}, which takes the package imagecodecs; "
            f"install that, or save the file again uncompressed or by deflate"
        ) from error
