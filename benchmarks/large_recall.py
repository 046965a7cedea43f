"""`python -m benchmarks.large_recall DATA`: train a detector on large pictures; how many of the small things it
finds, and in how many seconds a picture.

Found is a thing that a box of its class overlaps by half, whatever that box's confidence. Timed is `Run.predict` of
one file after the other, decoding included, once the network is loaded. Prints one JSON line.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import foveal
from benchmarks._data import asked
from foveal.intervals import bootstrap
from foveal.run import read_data
from foveal.types import Box, Prediction

_ENOUGH = 0.5


def main() -> None:
    """Train, find, time."""
    args = asked("large_recall", __doc__, minutes=10)
    examples = [example for example in read_data(args.data, "detect").examples if example.split == "test"]
    with tempfile.TemporaryDirectory() as folder:
        run = foveal.train(args.data, minutes=args.minutes, seed=args.seed, out=Path(folder) / "run")
        run.predict(examples[0].source)
        seconds, hits = [], []
        for example in examples:
            began = time.perf_counter()
            found = run.predict(example.source)
            seconds.append(time.perf_counter() - began)
            assert isinstance(found, Prediction)
            assert isinstance(example.label, tuple)
            hits.append([_is_found(box, found.boxes) for box in example.label])
    units = np.repeat(np.arange(len(hits)), [len(own) for own in hits])
    flat = np.array([hit for own in hits for hit in own], float)
    recall = bootstrap(lambda weights: float(weights @ flat / weights.sum()), units)
    test = {**{name: own.to_json() for name, own in run.test.items()}, "recall": recall.to_json()}
    print(json.dumps({"test": test, "seconds_a_picture": round(statistics.median(seconds), 3)}))


def _is_found(box: Box, found: Sequence[Box]) -> bool:
    return any(own.label == box.label and _overlap(own, box) >= _ENOUGH for own in found)


def _overlap(a: Box, b: Box) -> float:
    across = min(a.right, b.right) - max(a.left, b.left)
    down = min(a.bottom, b.bottom) - max(a.top, b.top)
    both = max(0.0, across) * max(0.0, down)
    areas = [(c.right - c.left) * (c.bottom - c.top) for c in (a, b)]
    return both / (sum(areas) - both)


if __name__ == "__main__":
    main()
