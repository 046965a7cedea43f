"""Images per second of the frozen pass: PyTorch as it comes against the backends that foveal chose here.

`python -m benchmarks.frozen_pass [--rounds N] [--rows N]` prints one JSON object. Candidates take turns in one
process, so that a machine that slows down slows all of them; decoding is not part of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from foveal import nets
from foveal.engine.device import PLAIN, Runner, compile_frozen, fastest, probe
from foveal.engine.frozen import Gathered
from foveal.targets import Classes

SIZE = 224
DEFAULT = "default"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frozen_pass", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="how often each candidate has its turn")
    parser.add_argument("--rows", type=int, default=32, help="pictures in a batch")
    args = parser.parse_args()
    print(json.dumps(compare(args.rounds, args.rows)))


def compare(rounds: int, rows: int) -> dict[str, object]:
    """Median images per second of each candidate over `rounds` batches of `rows`, and ratios to the default."""
    net = nets.pretrained("lite0")
    module = Gathered(net, Classes(tuple("abcdef")).head(net.channels, net.strides)).eval()
    shape = (rows, 3, SIZE, SIZE)
    rates = probe(module, shape, "cpu", "benchmark lite0")

    def default(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(x)

    backends = {"folded": PLAIN, "reference": fastest(rates, "float32"), "fastest": fastest(rates)}
    runners = {DEFAULT: default, **{name: compile_frozen(module, shape, b) for name, b in backends.items()}}
    seconds = _interleave(runners, torch.rand(shape) * 2 - 1, rounds)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    described = {DEFAULT: "torch float32, as it comes", **{name: str(b) for name, b in backends.items()}}
    measured: dict[str, object] = {
        name: {
            "backend": described[name],
            "images_per_second": rows / median[name],
            "ratio": median[DEFAULT] / median[name],
            "rounds": [rows / value for value in values],
        }
        for name, values in seconds.items()
    }
    return {**measured, "threads": torch.get_num_threads(), "rows": rows}


def _interleave(runners: Mapping[str, Runner], x: Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds per batch by candidate; the first turn of each is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(rounds + 1):
        for name, run in runners.items():
            began = time.perf_counter()
            run(x)
            if turn > 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
