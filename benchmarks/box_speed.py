"""`python -m benchmarks.box_speed DATA`: train a detector, export it, and time the exported file at 416 px.

The file is timed as the peers' is, by ONNX Runtime on 2 threads, though it also resizes the picture and suppresses
what is found twice. Prints one JSON line.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

import foveal
from benchmarks._data import asked
from benchmarks.peers._timing import milliseconds

SIZE, THREADS = 416, 2


def main() -> None:
    """Train, export, time."""
    args = asked("box_speed", __doc__, minutes=15)
    with tempfile.TemporaryDirectory() as folder:
        run = foveal.train(args.data, minutes=args.minutes, seed=args.seed, out=Path(folder) / "run")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(run.export(), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: np.zeros((SIZE, SIZE, 3), np.uint8)}
        latency = milliseconds(lambda: session.run(None, feed))
        test = {name: estimate.to_json() for name, estimate in run.test.items()}
        print(json.dumps({"test": test, "milliseconds": round(latency, 2)}))


if __name__ == "__main__":
    main()
