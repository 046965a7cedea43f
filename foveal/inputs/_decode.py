"""One picture file -> upright RGB, the same for every path through foveal.

Knows Pillow's modes and what goes wrong in files. Does not resize.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from foveal.errors import DataError
from foveal.headers import FORMATS, orientation, read_header

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".mpo")

# 179 megapixels: Pillow's own bound for a decompression bomb, above every camera on sale.
_MOST_PIXELS = 178_956_970


def decode(source: Path) -> np.ndarray:
    """The picture as (H, W, 3) uint8, EXIF orientation applied, alpha over white, 16 bits scaled to 8.

    Of several frames the first. Raises DataError naming the file: missing, empty, not a picture, truncated, or
    larger than 179 megapixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(source, formats=FORMATS) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    raise DataError(f"{source}: {width} x {height} pixels; at most {_MOST_PIXELS:,} are read")
                image.load()
                return np.ascontiguousarray(_to_rgb(_upright(image)))
    except UnidentifiedImageError as error:
        raise DataError(f"{source}: {_why_unreadable(source)}") from error
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file") from error
    except IsADirectoryError as error:
        raise DataError(f"{source}: a folder; expected one picture file") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Pillow.DecompressionBombError) as error:
        raise DataError(f"{source}: the picture is damaged ({error})") from error


def picture_side(source: Path) -> float | None:
    """The geometric mean of the sides in pixels, from the file's header alone; None where it cannot be read."""
    header = read_header(source)
    return None if header is None else float(np.sqrt(header.size.height * header.size.width))


def _why_unreadable(source: Path) -> str:
    if source.stat().st_size == 0:
        return "the file is empty"
    return f"not a picture that can be read; expected one of {', '.join(FORMATS)}"


def _upright(image: Pillow.Image) -> Pillow.Image:
    turned = orientation(image)
    if turned == 1:
        return image
    method = {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT,
        3: Pillow.Transpose.ROTATE_180,
        4: Pillow.Transpose.FLIP_TOP_BOTTOM,
        5: Pillow.Transpose.TRANSPOSE,
        6: Pillow.Transpose.ROTATE_270,
        7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_90,
    }[turned]
    return image.transpose(method)


def _to_rgb(image: Pillow.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return _gray_to_rgb(_eight_bits(np.asarray(image, np.float64), image.mode))
    if image.mode == "CMYK":
        return np.asarray(image.convert("RGB"))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Pillow.new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.asarray(Pillow.alpha_composite(white, rgba).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _eight_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """Gray of more than 8 bits -> 0 to 255 by the range of its type, never clipped.

    Integers are taken as 16-bit where they fit (65535 -> 255), else by their own range; floats as 0 to 1 where
    they fit, as 0 to 255 where those fit, else by their own range.
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    bounds = [(0.0, 1.0), (0.0, 255.0)] if mode == "F" else [(0.0, 65535.0)]
    start, end = next(((a, b) for a, b in bounds if a <= low and high <= b), (low, high))
    return np.rint((values - start) * (255.0 / max(end - start, 1e-12))).astype(np.uint8)


def _gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)
