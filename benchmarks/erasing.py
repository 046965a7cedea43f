"""Milliseconds that explanations of one picture take: `python -m benchmarks.erasing [--rounds N]` prints one JSON
object.

lite0 at 224 px, 49 cells. Captum's loop (FeatureAblation, one cell after the other, as it comes) against foveal's,
and against one plain batch of 49 in PyTorch; the ledger against a plain forward pass; faithfulness, which is about
330 passes. Candidates take turns in one process. `difference`: the largest between Captum's values and foveal's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from foveal import nets
from foveal.contracts import Task
from foveal.engine.device import PLAIN, compile_frozen, fastest, probe, rows_at_once
from foveal.engine.frozen import Gathered
from foveal.explain.erasing import Erasing
from foveal.explain.ledger import ledger
from foveal.explain.measured import with_faithfulness
from foveal.inputs import Image
from foveal.model import Model
from foveal.targets import Classes

SIZE, GRID = 224, 7


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.erasing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each candidate has its turn")
    print(json.dumps(compare(parser.parse_args().rounds)))


def compare(rounds: int) -> dict[str, object]:
    """Medians over `rounds`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.attr import FeatureAblation
    task = Task("classify", Image(SIZE), Classes(tuple("abcdef")))
    model = Model(task, nets.pretrained("lite0"))
    with torch.no_grad():
        model.head.get_parameter("weight").normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    raw = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    shape = (rows_at_once(task.input.shape(), maps=False), *task.input.shape())
    module = Gathered(model.eval().net, model.head).eval()
    backend = fastest(probe(module, (32, *task.input.shape()), "cpu", "benchmark lite0"), "float32")
    erasing = Erasing(model, task, raw, compile_frozen(module, shape, backend))
    plain = Erasing(model, task, raw, compile_frozen(module, (GRID**2, *task.input.shape()), PLAIN))
    side = SIZE // GRID
    numbers = torch.arange(GRID**2)
    cells = numbers.reshape(1, 1, GRID, GRID).repeat_interleave(side, 2).repeat_interleave(side, 3)
    each = task.input.erase(
        erasing.x.repeat(GRID**2, 1, 1, 1), torch.eye(GRID**2, dtype=torch.bool).reshape(-1, GRID, GRID)
    )
    fill = each[cells[0, 0], :, torch.arange(SIZE)[:, None], torch.arange(SIZE)].permute(2, 0, 1)[None]
    cells = cells.expand(1, 3, -1, -1)
    kind = int(erasing.prediction.origin or 0)

    def score(x: torch.Tensor) -> torch.Tensor:
        return model.head(model.net(x))["logits"][:, kind]

    def captum() -> np.ndarray:
        with torch.no_grad():
            found = FeatureAblation(score).attribute(erasing.x, baselines=fill, feature_mask=cells)
        return found[0, 0, ::side, ::side].numpy().ravel()

    def forward() -> None:
        with torch.no_grad():
            x, pieces = model.stem(task.input.tensor(raw))
            task.target.decode(model.finish(model.head(model.net(x)), pieces))

    turns: dict[str, Callable[[], object]] = {
        "captum": captum,
        "foveal": erasing.effects,
        "plain_batch": plain.effects,
        "forward": forward,
        "ledger": lambda: ledger(model, task, raw),
        "measured": lambda: with_faithfulness(model, task, raw, ledger(model, task, raw), erasing.extract),
    }
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(rounds + 1):
        for name, run in turns.items():
            began = time.perf_counter()
            run()
            if turn > 0:
                seconds[name].append(time.perf_counter() - began)
    found = {name: round(1000 * statistics.median(values), 1) for name, values in seconds.items()}
    return {
        **found,
        "captum_over_foveal": found["captum"] / found["foveal"],
        "plain_over_foveal": found["plain_batch"] / found["foveal"],
        "ledger_over_forward": found["ledger"] / found["forward"],
        "difference": float(np.abs(captum() - erasing.effects()).max()),
        "backend": str(backend),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
