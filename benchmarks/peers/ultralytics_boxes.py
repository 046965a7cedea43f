"""YOLO11n from nothing, by the program `yolo` of an environment of its own; nothing of it is imported.

Its `time=` ends the training; what it keeps as best is judged on the test part, and timed as the ONNX file that it
exports, by ONNX Runtime on 2 threads: the network alone, without the suppression that follows it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from _boxes import report, scores
from _timing import milliseconds

YOLO = Path(sys.executable).with_name("yolo")
SIZE, THREADS = 416, 2


def main() -> None:
    """Train, judge, export, time."""
    parser = argparse.ArgumentParser(description="Prints one JSON line: map50 and map50_95 on the test part.")
    parser.add_argument("data", type=Path, help="folder with yolo/data.yaml and test.json")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out = args.data / "results"
    common = [
        f"data={args.data / 'yolo' / 'data.yaml'}",
        f"imgsz={SIZE}",
        "device=cpu",
        f"project={out}",
        "exist_ok=True",
    ]
    limits = [f"time={args.minutes / 60}", f"seed={args.seed}", "workers=2", "plots=False", "name=train"]
    yolo(out, "detect", "train", "model=yolo11n.yaml", "pretrained=False", *common, *limits)
    best = next(out.rglob("best.pt"))
    yolo(out, "detect", "val", f"model={best}", "split=test", "save_json=True", "plots=False", "name=test", *common)
    found = json.loads(next(out.rglob("predictions.json")).read_text())
    yolo(out, "export", f"model={best}", "format=onnx", f"imgsz={SIZE}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(best.with_suffix(".onnx"), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.zeros((1, 3, SIZE, SIZE), np.float32)}
    report(
        scores(args.data / "test.json", found),
        milliseconds(lambda: session.run(None, feed)),
        ("ultralytics", "torch", "onnxruntime"),
    )


def yolo(out: Path, *words: str) -> None:
    """Its settings lie beside its results; what it says goes to stderr."""
    out.mkdir(exist_ok=True)
    env = {**os.environ, "YOLO_CONFIG_DIR": str(out), "YOLO_OFFLINE": "true"}
    subprocess.run([str(YOLO), *words], check=True, cwd=out, env=env, stdout=sys.stderr)


if __name__ == "__main__":
    main()
