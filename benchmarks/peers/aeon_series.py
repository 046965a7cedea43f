"""aeon's classifiers of series: MiniRocket and MultiRocket with Hydra.

    python benchmarks/peers/aeon_series.py FOLDER NAME METHOD [--seed N]

NAME_TRAIN.ts and NAME_TEST.ts in FOLDER; METHOD: minirocket or hydra. Prints JSON; seconds are those of fitting and
predicting, what aeon compiles beforehand not counted.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from pathlib import Path


def main() -> None:
    """Fit and score, once to compile and once to be timed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("method", choices=["minirocket", "hydra"])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    from aeon.classification.convolution_based import MiniRocketClassifier, MultiRocketHydraClassifier
    from aeon.datasets import load_from_ts_file
    from sklearn.metrics import f1_score

    (x, y), (asked, truth) = (
        load_from_ts_file(str(args.folder / f"{args.name}_{part}.ts")) for part in ("TRAIN", "TEST")
    )
    kinds = {"minirocket": MiniRocketClassifier, "hydra": MultiRocketHydraClassifier}
    kinds[args.method](random_state=args.seed).fit(x, y).predict(asked[:2])
    began = time.perf_counter()
    said = kinds[args.method](random_state=args.seed).fit(x, y).predict(asked)
    seconds = time.perf_counter() - began
    test = {
        "accuracy": {"value": float((said == truth).mean()), "n": len(truth)},
        "macro_f1": {"value": float(f1_score(truth, said, average="macro")), "n": len(truth)},
    }
    versions = {"aeon": importlib.metadata.version("aeon")}
    print(json.dumps({"test": test, "seconds": {"total": round(seconds, 2)}, "versions": versions}))


if __name__ == "__main__":
    main()
