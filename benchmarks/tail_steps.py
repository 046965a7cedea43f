"""Rows per second of training the last stages of EfficientNet-Lite0: PyTorch's own convolutions against ours.

`python -m benchmarks.tail_steps [--rounds N]` prints one JSON object: by the first trained stage, the median rate of
both and the median ratio. Both have BatchNorm folded and run in bfloat16, channels last, batches of 32 at 224 px;
they take turns, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor, nn

from foveal import nets
from foveal.engine.device import fold_batchnorm
from foveal.engine.trainable import trainable

ROWS, SIZE, FIRST_STAGES = 32, 224, (6, 5, 4, 3, 0)


def seconds(stages: nn.ModuleList, x: Tensor) -> float:
    """Of one forward and backward pass."""
    began = time.perf_counter()
    for stage in stages:
        x = stage(x)
    x.float().mean().backward()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tail_steps", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds, net, found = parser.parse_args().rounds, nets.pretrained("lite0"), {}
    for first in FIRST_STAGES:
        with torch.no_grad():
            x = nn.Sequential(*net.stages[:first])(torch.rand(ROWS, 3, SIZE, SIZE) * 2 - 1)
        x = x.bfloat16().contiguous(memory_format=torch.channels_last)
        plain = fold_batchnorm(net.stages[first:]).bfloat16().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ours = trainable(net.stages[first:])
        assert isinstance(plain, nn.ModuleList) and isinstance(ours, nn.ModuleList)
        taken = [(seconds(plain, x), seconds(ours, x)) for _ in range(rounds + 1)][1:]
        found[first] = {
            "plain": round(ROWS / statistics.median(p for p, _ in taken), 1),
            "ours": round(ROWS / statistics.median(o for _, o in taken), 1),
            "ratio": round(statistics.median(p / o for p, o in taken), 2),
        }
    print(json.dumps({"rows_per_second": found, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
