"""Sounds and plain numbers from files, for looking at: one sound -> samples, one table of numbers -> an array.

Knows file formats and what goes wrong in them. Does not learn from them; that is what Inputs are for.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import numpy as np

from foveal.errors import DataError, FovealError

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
NUMBER_SUFFIXES = (".csv", ".tsv", ".txt", ".npy")

# How sound files begin. MPEG frames begin with two bytes that anything may begin with, so only .mp3 may.
_BEGINNINGS, _MPEG = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd"), b"\xff"

# The first of these that a file contains separates its numbers; white space does where there is none.
_SEPARATORS = ("\t", ";", ",")


def decode_sound(source: Path) -> tuple[np.ndarray, int]:
    """(samples (n,) float64 from -1 to 1, sample rate in Hz), channels averaged. Raises DataError naming the file."""
    data = _bytes(source)
    if not data.startswith((*_BEGINNINGS, _MPEG) if source.suffix.lower() == ".mp3" else _BEGINNINGS):
        raise DataError(f"{source}: not a sound that can be read (it begins with {data[:4]!r}, as none does)")
    try:
        import soundfile
    except OSError as error:  # no wheel with libsndfile in it for this machine
        raise FovealError(f"{source}: sounds need libsndfile, which is missing here ({error}); install it") from error
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"{source}: not a sound that can be read ({error})") from error
    if not samples.size:
        raise DataError(f"{source}: the sound has no samples")
    if not np.isfinite(samples).all():
        raise DataError(f"{source}: the sound has samples that are no finite numbers")
    return samples.mean(axis=1), int(rate_hz)


def decode_numbers(source: Path) -> np.ndarray:
    """The numbers of a .npy file, or of a text file with a row a line, as (rows, columns) float64.

    Text: one row of names above the numbers, blank lines and lines that begin with # are passed over. Raises
    DataError naming file and line.
    """
    return _from_npy(source) if source.suffix.lower() == ".npy" else _from_text(source)


def _bytes(source: Path) -> bytes:
    try:
        data = source.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file") from error
    except IsADirectoryError as error:
        raise DataError(f"{source}: a folder; expected one file") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be opened ({error.strerror})") from error
    if not data:
        raise DataError(f"{source}: the file is empty")
    return data


def _from_npy(source: Path) -> np.ndarray:
    _bytes(source)
    try:
        array = np.load(source, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{source}: not an array that can be read ({error}); expected numbers in .npy") from error
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or not array.size:
        raise DataError(
            f"{source}: expected real numbers along 1 or 2 axes, found shape {array.shape} of type {array.dtype}"
        )
    numbers = np.atleast_2d(array.astype(np.float64))
    if not np.isfinite(numbers).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise DataError(f"{source}: expected finite numbers, found {numbers[row, column]} at [{row}, {column}]")
    return numbers


def _from_text(source: Path) -> np.ndarray:
    try:
        text = _bytes(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not text in UTF-8 ({error.reason} at byte {error.start})") from error
    separator = next((mark for mark in _SEPARATORS if mark in text), None)
    rows: list[list[float]] = []
    named = False
    for line, content in enumerate(text.splitlines(), 1):
        if not content.strip() or content.lstrip().startswith("#"):
            continue
        cells = [cell.strip() for cell in content.split(separator)]
        if not rows and not named and not any(_is_number(cell) for cell in cells):
            named = True
            continue
        rows.append([_number(cell, f"{source}, line {line}") for cell in cells])
        if len(rows[-1]) != len(rows[0]):
            raise DataError(f"{source}, line {line}: {len(rows[-1])} numbers, but {len(rows[0])} in the rows above")
    if not rows:
        raise DataError(f"{source}: expected numbers, found none")
    return np.array(rows)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell) is not None


def _number(cell: str, where: str) -> float:
    value = float(cell) if _is_number(cell) else float("nan")
    if not np.isfinite(value):
        raise DataError(f"{where}: expected a finite number with a decimal point, found {cell!r}")
    return value


def resampled(samples: np.ndarray, up: int, down: int) -> np.ndarray:
    """(n,) -> about (n * up / down,), filtered so that no tone becomes another."""
    from scipy.signal import resample_poly  # half a second that only who has sounds pays for

    common = math.gcd(up, down)
    return resample_poly(samples, up // common, down // common)
