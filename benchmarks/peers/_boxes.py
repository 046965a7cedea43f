"""What the peers that find boxes have in common: how they are judged, and what they print.

Runs in a peer's environment, where there is no foveal.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path

from faster_coco_eval import COCO, COCOeval_faster


def scores(truth: Path, found: Sequence[dict[str, object]]) -> dict[str, float]:
    """map50 and map50_95 of COCO's kind of results against its kind of truth."""
    known = COCO(str(truth))
    judge = COCOeval_faster(
        known, known.loadRes([dict(one) for one in found]), "bbox", print_function=lambda *_: None
    )
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return {"map50_95": float(judge.stats[0]), "map50": float(judge.stats[1])}


def report(test: dict[str, float], latency: float, packages: Sequence[str]) -> None:
    """Print the one JSON line, in the shape of foveal's own."""
    versions = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
    shown = {name: {"value": value} for name, value in test.items()}
    print(json.dumps({"test": shown, "milliseconds": round(latency, 2), "versions": versions}))
