"""A picture's header says which way it is up wherever in the file that stands, and without decoding."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngImageFile, PngInfo

from foveal.headers import EXIF_ORIENTATION, orientation, read_header
from foveal.types import Size

_LYING = Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
_XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'


def exif(orientation: int) -> Pillow.Exif:
    found = Pillow.Exif()
    found[EXIF_ORIENTATION] = orientation
    return found


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Of a PNG: each chunk's kind and content."""
    found, place = [], 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def png(parts: list[tuple[bytes, bytes]]) -> bytes:
    packed = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def exif_last(path: Path) -> None:
    """The block stands behind the pixels, where decoding alone meets it."""
    _LYING.save(path, exif=exif(6))
    parts = chunks(path.read_bytes())
    block = next(part for part in parts if part[0] == b"eXIf")
    others = [part for part in parts if part is not block]
    path.write_bytes(png([*others[:-1], block, others[-1]]))


def as_text(keyword: str, text: str, path: Path) -> None:
    info = PngInfo()
    info.add_text("Software", "a program")
    info.add_itxt(keyword, text)
    _LYING.save(path, pnginfo=info)


WRITERS = {
    "first": lambda path: _LYING.save(path, exif=exif(6)),
    "last": exif_last,
    "xmp": lambda path: as_text("XML:com.adobe.xmp", _XMP, path),
}


@pytest.mark.parametrize("place", WRITERS)
def test_a_png_lies_on_its_side_wherever_it_says_so(place: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    WRITERS[place](path)
    found = read_header(path)
    assert found is not None and found.turned and found.size == Size(40, 30)


def test_a_png_that_says_nothing_is_upright_and_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    as_text("Comment", "Orientation 6", path)
    with Pillow.open(path) as image:
        assert isinstance(image, PngImageFile)
        assert orientation(image) == 1
        assert image.fp is not None, "Pillow lets go of a file that it has decoded"
