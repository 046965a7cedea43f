"""What the header of a picture or sound file says, without decoding it: its size, and which way it is up.

Knows which of Pillow's parsers may see a user's file: the formats are an allow-list, the rarer ones are not on it.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import IO, NamedTuple

from PIL import Image as Pillow
from PIL.PngImagePlugin import PngImageFile

from foveal.types import Size

# MPO is read as the JPEG that it begins with: Pillow has no opener of that name, and asking for one is a KeyError.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
EXIF_ORIENTATION = 0x0112

_ON_ITS_SIDE = range(5, 9)
# Of PNG: bytes before the first chunk, of a chunk's head and checksum, of a keyword; texts that may be EXIF or XMP.
_PNG_BEGINS, _PNG_HEAD, _PNG_CHECKSUM, _PNG_KEYWORD = 8, 8, 4, 32
_PNG_TEXTS, _PNG_KEYWORDS = (b"tEXt", b"zTXt", b"iTXt"), (b"Raw profile type exif", b"XML:com.adobe.xmp")


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
    """The EXIF orientation, 1 to 8; values outside and damaged EXIF blocks mean upright, 1.

    `image` is just opened or loaded; a PNG that has no such block is not decoded to find that out.
    """
    try:
        if isinstance(image, PngImageFile) and image.fp is not None and not _says_orientation(image.fp):
            return 1
        found = image.getexif().get(EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, OSError, KeyError, TypeError):
        return 1
    return found if found in range(1, 9) else 1


def _says_orientation(file: IO[bytes]) -> bool:
    """Whether a PNG has a chunk in which Pillow looks for an orientation; its place in the file stays."""
    place = file.tell()
    try:
        file.seek(_PNG_BEGINS)
        while len(head := file.read(_PNG_HEAD)) == _PNG_HEAD:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"eXIf":
                return True
            told = file.read(min(length, _PNG_KEYWORD)) if kind in _PNG_TEXTS else b""
            if told.startswith(_PNG_KEYWORDS):
                return True
            file.seek(length - len(told) + _PNG_CHECKSUM, os.SEEK_CUR)
        return False
    finally:
        file.seek(place)


def sound_header(source: Path) -> tuple[int, float] | None:
    """Sample rate in Hz and length in seconds; None where they cannot be read."""
    try:
        import soundfile

        info = soundfile.info(str(source))
    except (OSError, RuntimeError):
        return None
    return (int(info.samplerate), info.frames / info.samplerate) if info.frames and info.samplerate else None
