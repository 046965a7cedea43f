"""What occlusion in detail takes, and how well it agrees with every window: `python -m benchmarks.detail DATA
[--minutes M] [--seed N]` trains, looks at a few test pictures, and prints one JSON object.

`captum`: seconds a picture of Captum's Occlusion, windows of a cell slid by an eighth of it; `all`: of
foveal with as many windows; `detail`: of foveal with those that `foveal explain` computes. They take turns.
`agreement`: Spearman's between the maps of the latter two, the median over pictures and the least.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import foveal
from benchmarks._data import asked
from foveal.explain.detail import in_detail
from foveal.explain.erasing import Erasing

_PICTURES, _BY_CAPTUM = 6, 2


def main() -> None:
    """Train, explain, compare."""
    args = asked("detail", __doc__, minutes=1)
    with tempfile.TemporaryDirectory() as folder:
        run = foveal.train(args.data, minutes=args.minutes, seed=args.seed, out=Path(folder) / "run")
        parts = run.examples()
        examples = parts["test"] or parts["val"] or parts["train"]
        rows = np.random.default_rng(args.seed).permutation(len(examples))[:_PICTURES]
        raws = [run.task.input.load(examples[int(row)].source) for row in rows]
        seconds: dict[str, list[float]] = {"captum": [], "all": [], "detail": []}
        agreements = []
        for number, raw in enumerate(raws):
            erasing = Erasing(run.model, run.task, raw, run.extract)
            if number < _BY_CAPTUM:
                seconds["captum"].append(_captum(erasing))
            began = time.perf_counter()
            few = in_detail(erasing)
            seconds["detail"].append(time.perf_counter() - began)
            began = time.perf_counter()
            every = in_detail(erasing, all_of_them=True)
            seconds["all"].append(time.perf_counter() - began)
            agreements.append(float(np.asarray(spearmanr(few.ravel(), every.ravel()))[0]))
    found = {name: round(statistics.median(own), 2) for name, own in seconds.items()}
    print(
        json.dumps(
            {
                **found,
                "captum_over_detail": found["captum"] / found["detail"],
                "agreement": statistics.median(agreements),
                "least_agreement": min(agreements),
                "pictures": len(raws),
            }
        )
    )


def _captum(erasing: Erasing) -> float:
    """Seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.attr import Occlusion
    model, channels, side = erasing.model, erasing.x.shape[1], erasing.x.shape[2] // erasing.grid[0]
    began = time.perf_counter()
    with torch.no_grad():
        occlusion = Occlusion(lambda x: erasing.scores(model.head(model.net(x))))
        occlusion.attribute(erasing.x, (channels, side, side), strides=(channels, side // 8, side // 8), baselines=0)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
