"""Videos frame by frame: predicted, drawn, written again; and what is no video."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from foveal import video
from foveal.errors import DataError
from foveal.types import Prediction, Raw

FRAMES, WIDTH, HEIGHT = 20, 64, 48


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A white square that moves to the right by 2 pixels a frame."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            picture = Pillow.new("RGB", (WIDTH, HEIGHT))
            ImageDraw.Draw(picture).rectangle((2 * number, 10, 2 * number + 12, 30), fill=(255, 255, 255))
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def place(raws: list[Raw]) -> list[Prediction]:
    """Says where the left border of what is bright lies."""
    return [Prediction("square", origin=int((raw[20, :, 0] > 128).argmax())) for raw in raws]


def marked(raw: Raw, prediction: Prediction) -> Pillow.Image:
    picture = Pillow.fromarray(raw)
    ImageDraw.Draw(picture).rectangle((0, 40, WIDTH, HEIGHT), fill=(255, 0, 0))
    return picture


def test_every_frame_is_seen_in_order_and_drawn(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.mp4"
    seen = list(video.watch(clip, place, marked, out))  # type: ignore[arg-type]
    assert [one.frame for one in seen] == list(range(FRAMES))
    assert [one.prediction.origin for one in seen] == pytest.approx([2 * n for n in range(FRAMES)], abs=2)
    assert [one.seconds for one in seen] == pytest.approx([n / 10 for n in range(FRAMES)], abs=0.01)
    assert all(one.rate > 0 for one in seen)
    with av.open(str(out)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == FRAMES
    for frame in frames:
        assert frame.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(frame[44].astype(int).mean(0) - (255, 0, 0)).max() < 40


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(DataError, match=r"text\.mp4: cannot be opened as a video"):
        list(video.watch(path, place, marked, None))  # type: ignore[arg-type]


def test_videos_are_known_by_their_names() -> None:
    assert all(video.is_video(Path(name)) for name in ("a.mp4", "B.MOV", "camera:0"))
    assert not any(video.is_video(Path(name)) for name in ("a.png", "mp4", "a.gif"))
