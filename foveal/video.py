"""Videos: each frame of a file or a camera predicted, drawn, and written as a video again.

Knows PyAV, which is an extra (`pip install 'foveal[video]'`), and predictors; nothing of what is predicted.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from foveal.contracts import Canvas, Predictor
from foveal.errors import DataError, FovealError
from foveal.types import Prediction, Raw

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
CAMERA = "camera:"
"""`camera:0` is the first one."""

_CODECS = ("libx264", "mpeg4")
# Frames are predicted so many at a time; a camera's one by one, since they are to be seen at once.
_CHUNK = 8
_USUAL_RATE = 25


@dataclass(frozen=True)
class Seen:
    """One frame: its number from 0 of how many (0 where that is unknown), its time in seconds, what was said of it,
    and frames a second so far."""

    frame: int
    total: int
    seconds: float
    prediction: Prediction
    rate: float


def is_video(file: Path) -> bool:
    """Whether a file, by its name, is a video, or `camera:N`."""
    return str(file).startswith(CAMERA) or file.suffix.lower() in SUFFIXES


def watch(
    file: Path, predict: Predictor, draw: Callable[[Raw, Prediction], Canvas], out: Path | None
) -> Iterator[Seen]:
    """Every frame, in order; drawn into the video `out`, where one is given, which is whole once the iterator is
    exhausted or closed.

    Raises DataError where the file is no video that can be read, FovealError where PyAV is not installed.
    """
    av = _library()
    with _opened(av, file) as source:
        if not source.streams.video:
            raise DataError(f"{file}: no pictures in it; expected a video")
        stream = source.streams.video[0]
        stream.thread_type = "AUTO"
        frames, count = _frames(av, file, source), 1 if str(file).startswith(CAMERA) else _CHUNK
        written = None if out is None else _Written(av, out, stream.average_rate)
        began, done = time.perf_counter(), 0
        try:
            while chunk := list(islice(frames, count)):
                predictions = predict([pixels for _, pixels in chunk])
                for (seconds, pixels), prediction in zip(chunk, predictions, strict=True):
                    if written is not None:
                        written.add(draw(pixels, prediction))
                    done += 1
                    rate = done / (time.perf_counter() - began)
                    yield Seen(done - 1, stream.frames, seconds, prediction, rate)
        finally:
            if written is not None:
                written.close()


def _library() -> Any:
    try:
        import av
    except ImportError:
        raise FovealError("videos need PyAV, which is not installed: pip install 'foveal[video]'") from None
    return av


def _opened(av: Any, file: Path) -> Any:
    try:
        if not str(file).startswith(CAMERA):
            return av.open(str(file))
        number = str(file).removeprefix(CAMERA)
        name, format = {
            "Linux": (f"/dev/video{number}", "v4l2"),
            "Darwin": (number, "avfoundation"),
        }.get(platform.system(), (f"video={number}", "dshow"))
        return av.open(name, format=format)
    except (OSError, ValueError, av.FFmpegError) as error:
        raise DataError(f"{file}: cannot be opened as a video: {error}") from None


def _frames(av: Any, file: Path, source: Any) -> Iterator[tuple[float, np.ndarray]]:
    """Seconds and (H, W, 3) uint8."""
    try:
        for frame in source.decode(video=0):
            yield float(frame.time or 0.0), frame.to_ndarray(format="rgb24")
    except av.FFmpegError as error:
        raise DataError(f"{file}: the video is damaged: {error}") from None


class _Written:
    """A video of drawn frames, all of the size of the first, cut to even sides as encoders want them."""

    def __init__(self, av: Any, path: Path, rate: Fraction | None) -> None:
        self.av = av
        self.container = av.open(str(path), "w")
        codec = next(name for name in _CODECS if _has(av, name))
        self.stream = self.container.add_stream(codec, rate=rate or _USUAL_RATE)
        self.stream.pix_fmt = "yuv420p"
        self.size: Sequence[int] | None = None

    def add(self, canvas: Canvas) -> None:
        if self.size is None:
            self.size = (canvas.width // 2 * 2, canvas.height // 2 * 2)
            self.stream.width, self.stream.height = self.size
        width, height = self.size
        frame = self.av.VideoFrame.from_image(canvas.convert("RGB").crop((0, 0, width, height)))
        for packet in self.stream.encode(frame):
            self.container.mux(packet)

    def close(self) -> None:
        if self.size is not None:
            for packet in self.stream.encode():
                self.container.mux(packet)
        self.container.close()


def _has(av: Any, codec: str) -> bool:
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        return False
    return True
