"""`python -m benchmarks.frames DATA`: train on pictures of 320 px; how many frames a second of a video are predicted.

The video shows pictures of the set, each for as many frames as a person could follow. Its frames are decoded,
predicted, drawn and encoded again, as by `foveal predict RUN VIDEO --out DIR`. Prints one JSON line.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image as Pillow

import foveal
from benchmarks._data import asked
from foveal.api import predict_video
from foveal.run import read_data

_SIZE, _RATE = 320, 25
_PICTURES, _FRAMES_EACH = 30, 10


def main() -> None:
    """Train, write a video, predict its frames."""
    args = asked("frames", __doc__, minutes=1)
    sources = [example.source for example in read_data(args.data, None).examples[:_PICTURES]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = foveal.train(args.data, minutes=args.minutes, seed=args.seed, size=_SIZE, out=folder / "run")
        clip = _written(sources, folder / "clip.mp4")
        run.predict(sources[0])
        _, summary = predict_video(run, clip, folder / "drawn")
        test = {name: estimate.to_json() for name, estimate in run.test.items()}
        found = {"frames": summary["frames"], "frames_per_second": summary["frames_per_second"]}
        print(json.dumps({"test": test, **found}))


def _written(sources: Sequence[Path], path: Path) -> Path:
    """A video of these pictures, in the size of the first."""
    with av.open(str(path), "w") as container, Pillow.open(sources[0]) as first:
        stream = container.add_stream("mpeg4", rate=Fraction(_RATE))
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        for source in sources:
            with Pillow.open(source) as picture:
                frame = av.VideoFrame.from_image(picture.convert("RGB").resize(first.size))
            for _ in range(_FRAMES_EACH):
                frame.pts = None
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


if __name__ == "__main__":
    main()
