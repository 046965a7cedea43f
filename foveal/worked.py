"""A worked example of convolution: one file and one kernel -> input, kernel, map and what was done to get them.

Knows which files and kernels there are, and where in a run a kernel is found. Does not know how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from foveal import kernels
from foveal.convolution import Convolution, convolve
from foveal.errors import DataError, UsageError
from foveal.explain.filters import Filter, filter_at
from foveal.inputs import Image
from foveal.inputs._signal import NUMBER_SUFFIXES, SOUND_SUFFIXES, decode_numbers, decode_sound
from foveal.report.convolution import Exhibit
from foveal.run import Run

# 160 pixels can still be pointed at one by one, and 2000 samples seen as a line.
_MOST_PIXELS, _MOST_SAMPLES, _STRETCH = 160, 4000, 2000
# float32 sums of some thousand products; a larger difference is an error of ours, not rounding.
_AGREES_TO = 1e-4


@dataclass(frozen=True, eq=False)
class _Seen:
    """What of a file is convolved: (n,) or (H, W), and what was done to get it. grey: the values are 0 to 255."""

    values: np.ndarray
    notes: tuple[str, ...]
    grey: bool = False


def work(file: Path, kernel: str) -> Exhibit:
    """Convolve what a file holds with a kernel: a name, a file of numbers, or RUN:layer:channel.

    Raises DataError where a file cannot be read, UsageError where the kernel does not exist or fit, RunError where
    the run cannot be opened.
    """
    parts = kernel.rsplit(":", 2)
    if kernel in kernels.PLANE or _is_numbers(Path(kernel)):
        return _given(file, kernel)
    if len(parts) == 3 and all(parts):
        return _learnt(file, Path(parts[0]), layer=parts[1], channel=parts[2])
    raise UsageError(
        f"--kernel {kernel}: expected one of {', '.join(kernels.PLANE)}, a CSV file of numbers, or RUN:layer:channel"
    )


def _is_numbers(path: Path) -> bool:
    return path.suffix.lower() in NUMBER_SUFFIXES or path.is_file()


def _given(file: Path, kernel: str) -> Exhibit:
    """With a named kernel, or one from a file of numbers."""
    seen = _look(file)
    line = seen.values.ndim == 1
    if kernel in kernels.PLANE:
        named = (kernels.LINE if line else kernels.PLANE)[kernel]
        values, about, source = named.values, f"Its map shows {named.answers}.", named.source
    else:
        values, about, source = _kernel_from(kernel, line), "Its numbers were read from a file.", ""
    try:
        found = convolve(seen.values, values, steps=True)
    except UsageError as error:
        raise UsageError(f"{file} with --kernel {kernel}: {error}") from error
    return Exhibit(
        file=file.name,
        kernel=Path(kernel).name,
        about=about,
        notes=seen.notes,
        found=found,
        source=source,
        grey=seen.grey,
    )


def _kernel_from(kernel: str, line: bool) -> np.ndarray:
    values = decode_numbers(Path(kernel))
    if not line:
        return values
    if 1 not in values.shape:
        rows, columns = values.shape
        raise UsageError(
            f"--kernel {kernel}: {rows} rows of {columns} numbers; a sound or signal is a line, so it "
            f"takes one row or one column"
        )
    return values.ravel()


def _learnt(file: Path, folder: Path, layer: str, channel: str) -> Exhibit:
    run = Run(folder)
    raw = run.task.input.load(file)
    try:
        one = filter_at(run.model, run.task, raw, layer, channel)
    except UsageError as error:
        raise UsageError(f"{folder}: {error}") from error
    found = convolve(one.f, one.g, one.stride, one.padding, one.dilation, steps=True)
    difference = _difference(found, one)
    assert difference <= _AGREES_TO, f"{one.name}: the map differs from the layer's by {difference}"
    return Exhibit(
        file=file.name,
        kernel=f"{run.folder.name}:{one.layer}:{one.channel}",
        about=_about(run, one),
        notes=(_entering(file, one), *_apart(one)),
        found=found,
        picture=run.task.input.render(raw),
        bias=one.bias,
        first=one.first,
        difference=difference,
    )


def _difference(found: Convolution, one: Filter) -> float:
    """The largest difference from what torch computed, as a share of the layer's largest value, at least of 1."""
    return float(np.abs(found.map + one.bias - one.output).max() / max(1.0, float(np.abs(one.output).max())))


def _about(run: Run, one: Filter) -> str:
    return (
        f"This kernel is channel {one.channel} of the {one.outputs} of convolution {one.layer} ({one.name}), one of "
        f"the {one.layers} in the network of {run.folder}. Nobody designed its numbers: they were learnt."
    )


def _entering(file: Path, one: Filter) -> str:
    count, height, width = one.f.shape
    channels = "1 channel" if count == 1 else f"{count} channels"
    return (
        f"The input is what enters this convolution for {file.name}, on the way that predictions take: {channels} of "
        f"{height} × {width} numbers"
    )


def _apart(one: Filter) -> tuple[str, ...]:
    count = len(one.f)
    if count < one.inputs:
        which = f"channel {one.first}" if count == 1 else f"channels {one.first} to {one.first + count - 1}"
        reads = f"This filter reads {which} of the {one.inputs} that enter"
    else:
        reads = "This filter reads all channels: its kernel has a plane for each, and their sums are added"
    return reads, "What the network does with the map next, such as cutting off what is negative, is not shown"


def _look(file: Path) -> _Seen:
    """A file as one plane or line of numbers, small enough to be looked at."""
    suffix = file.suffix.lower()
    if suffix in SOUND_SUFFIXES:
        samples, rate_hz = decode_sound(file)
        return _line(samples, f"at {rate_hz:,} samples a second")
    if suffix in NUMBER_SUFFIXES:
        numbers = decode_numbers(file)
        return _line(numbers.ravel(), "") if 1 in numbers.shape else _table(numbers)
    if suffix not in Image.suffixes:
        raise DataError(
            f"{file}: expected a picture ({' '.join(Image.suffixes)}), a sound ({' '.join(SOUND_SUFFIXES)}) or "
            f"numbers ({' '.join(NUMBER_SUFFIXES)})"
        )
    return _picture(Pillow.fromarray(Image().load(file)))


def _picture(picture: Pillow.Image) -> _Seen:
    """Luminance in whole numbers, so that the products can be followed in the head."""
    small = picture.resize(_reduced(picture.width, picture.height), Pillow.Resampling.BOX)
    light = "each value is the brightness of a pixel, from 0 (black) to 255 (white)"
    return _Seen(np.asarray(small.convert("L"), np.float64), (_size_note(picture, small, "pixels"), light), grey=True)


def _table(numbers: np.ndarray) -> _Seen:
    whole = Pillow.fromarray(numbers.astype(np.float32))
    small = whole.resize(_reduced(whole.width, whole.height), Pillow.Resampling.BOX)
    values = numbers if small.size == whole.size else np.asarray(small, np.float64)
    return _Seen(values, (_size_note(whole, small, "numbers"),))


def _line(values: np.ndarray, rate: str) -> _Seen:
    """The whole line, or of a long one the stretch around the value that stands out most."""
    length = f"{len(values):,} values {rate}".rstrip()
    if len(values) <= _MOST_SAMPLES:
        return _Seen(values, (length,))
    loudest = int(np.abs(values - np.median(values)).argmax())
    start = int(np.clip(loudest - _STRETCH // 2, 0, len(values) - _STRETCH))
    last = start + _STRETCH - 1
    note = f"{length}, of which numbers {start:,} to {last:,} are shown, around the loudest, number {loudest:,}"
    return _Seen(values[start : start + _STRETCH], (note,))


def _reduced(width: int, height: int) -> tuple[int, int]:
    ratio = min(1.0, _MOST_PIXELS / max(width, height))
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _size_note(whole: Pillow.Image, small: Pillow.Image, what: str) -> str:
    if small.size == whole.size:
        return f"{whole.width} × {whole.height} {what}"
    return (
        f"{whole.width} × {whole.height} {what}, reduced to {small.width} × {small.height}, each the mean of those "
        f"that it stands for"
    )
