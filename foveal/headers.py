"""What the header of a picture or sound file says, without decoding it: its size, and which way it is up.

Knows which of Pillow's parsers may see a user's file: the formats are an allow-list, the rarer ones are not on it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image as Pillow

from foveal.types import Size

# MPO is read as the JPEG that it begins with: Pillow has no opener of that name, and asking for one is a KeyError.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
EXIF_ORIENTATION = 0x0112

_ON_ITS_SIDE = range(5, 9)


class Header(NamedTuple):
    """size: height and width once the EXIF orientation is applied; turned: whether that swaps the two."""

    size: Size
    turned: bool


def read_header(source: Path) -> Header | None:
    """None where the file cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(source, formats=FORMATS) as image:
                width, height = image.size
                turned = orientation(image) in _ON_ITS_SIDE
    except (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError):
        return None
    return Header(Size(width, height) if turned else Size(height, width), turned)


def orientation(image: Pillow.Image) -> int:
    """The EXIF orientation, 1 to 8; values outside and damaged EXIF blocks mean upright, 1."""
    try:
        found = image.getexif().get(EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, OSError, KeyError, TypeError):
        return 1
    return found if found in range(1, 9) else 1


def sound_header(source: Path) -> tuple[int, float] | None:
    """Sample rate in Hz and length in seconds; None where they cannot be read."""
    try:
        import soundfile

        info = soundfile.info(str(source))
    except (OSError, RuntimeError):
        return None
    return (int(info.samplerate), info.frames / info.samplerate) if info.frames and info.samplerate else None
