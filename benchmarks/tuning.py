"""What to fine-tune in about the same time: which network, at which size, from which stage on, on how many views.

`python -m benchmarks.tuning [--seeds N] [SET ...]` trains each of `CHOICES` on 64 % of a shared set of single-label
pictures, by the code of `engine/`, and prints the seconds that views and steps took, and loss and accuracy on the
other 36 %, before (the closed form at that size) and after. A line of JSON each, then the means.
The order of `engine/tuning_plan.py` rests on these figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import _data
from foveal import formats, nets
from foveal.contracts import FormatOptions, Head, Model, Task
from foveal.engine.checkpoint import State
from foveal.engine.device import Backend, compile_frozen
from foveal.engine.fine_tune import PlainFeatures, optimizer_of
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.views import Tail, Trunk, ViewBatches, Views
from foveal.inputs import Image
from foveal.targets import Classes
from foveal.targets._calibration import best_scale
from foveal.types import Dataset

SETS = ("sign-language-digits", "trashnet-150")
_BATCH, _ROWS, _LEARNT = 64, 32, 0.64
_FAST, _EXACT = Backend("openvino", "cpu", "bfloat16"), Backend("openvino")


@dataclass(frozen=True)
class Choice:
    """What is trained; boundary: its first stage."""

    net: str
    size: int
    boundary: int
    views: int
    epochs: int


CHOICES = (
    Choice("lite0", 288, 6, 5, 8),
    Choice("lite0", 288, 5, 3, 5),
    Choice("lite0", 288, 5, 5, 8),
    Choice("lite0", 288, 5, 12, 20),
    Choice("lite0", 224, 5, 4, 6),
    Choice("lite0", 224, 4, 8, 10),
    Choice("lite0", 192, 4, 6, 6),
    Choice("lite0", 192, 3, 6, 6),
    Choice("lite0", 160, 4, 5, 6),
    Choice("lite0", 160, 4, 8, 8),
    Choice("lite0", 160, 3, 6, 6),
    Choice("lite0", 128, 3, 10, 10),
    Choice("lite2", 192, 4, 10, 12),
    Choice("lite2", 160, 4, 14, 18),
    Choice("lite2", 160, 4, 5, 6),
)


def measure(data: Dataset, choice: Choice, seed: int) -> dict[str, object]:
    """Train it once."""
    task = Task("classify", Image(choice.size), Classes().fit(data))
    torch.manual_seed(seed)
    model = Model(task, nets.pretrained(choice.net)).eval()
    labels = [task.target.load(example) for example in data.examples]
    order = np.random.default_rng(seed).permutation(len(labels))
    learnt, unseen = (sorted(part.tolist()) for part in np.split(order, [int(_LEARNT * len(order))]))
    truth = torch.tensor([labels[row] for row in unseen])
    trunk = Trunk(model.net, model.head, choice.boundary).eval()
    shape = (_ROWS, *task.input.shape())
    shapes, sources = trunk.shapes(shape), [example.source for example in data.examples]
    began = time.perf_counter()
    views = Views(task, labels, learnt, [], choice.views, seed, shapes, torch.bfloat16)
    for _ in views.fill(sources, compile_frozen(trunk, shape, _FAST), torch.get_num_threads()):
        pass
    viewed = time.perf_counter() - began
    plain = Views(task, labels, [], unseen, 0, seed, shapes, torch.float32)
    for _ in plain.fill(sources, compile_frozen(trunk, shape, _EXACT), torch.get_num_threads()):
        pass
    own = [labels[row] for row in learnt]
    first = Tail(model.net, model.head, choice.boundary).eval()
    pieces = task.input.pieces(torch.ones(len(own), 2, dtype=torch.int64))
    features = PlainFeatures(first, views, learnt).together()
    solution = task.target.solve(model.head, features, own, pieces, np.arange(len(own)))
    assert solution is not None
    model.head.load_state_dict(solution.state)
    target, tail = (
        task.target.calibrate(solution.left_out, own, pieces),
        Tail(model.net, model.head, choice.boundary).eval(),
    )
    before = score(tail, plain, unseen, truth)
    schedule = Schedule(choice.epochs * -(-len(learnt) // _BATCH), _BATCH, seed, 10**9)
    began = time.perf_counter()
    batches = ViewBatches(views, learnt)
    for _ in Fitting(tail, target.loss, batches, optimizer_of(tail, "cpu"), schedule, State(decisions={}), "one"):
        pass
    trained = time.perf_counter() - began
    after = score(tail, plain, unseen, truth)
    seconds = {"views": round(viewed, 1), "steps": round(trained, 1)}
    return {**asdict(choice), "seed": seed, **seconds, "closed": before, "tuned": after, "unseen": len(unseen)}


def score(tail: Tail, views: Views, rows: Sequence[int], truth: Tensor) -> dict[str, float]:
    """Loss, at its best temperature, and accuracy of plain views."""
    with torch.inference_mode():
        logits = cast("Head", tail.head).read(PlainFeatures(tail, views, rows).together())["logits"].float()
    loss = F.cross_entropy(logits * best_scale(logits, truth), truth)
    return {"loss": round(float(loss), 4), "accuracy": round(float((logits.argmax(1) == truth).double().mean()), 4)}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("sets", nargs="*", metavar="SET", default=SETS)
    args = parser.parse_args()
    for name in args.sets:
        data = formats.read(_data.shared(name), FormatOptions(suffixes=Image.suffixes))
        found: dict[Choice, list[dict]] = defaultdict(list)
        for seed in range(1, args.seeds + 1):
            for choice in CHOICES:
                found[choice].append(measure(data, choice, seed))
                print(json.dumps({"set": name, **found[choice][-1]}), flush=True)
        for choice, rows in found.items():
            seconds, loss, accuracy = (
                statistics.mean(read(row) for row in rows)
                for read in (
                    lambda row: row["views"] + row["steps"],
                    lambda row: row["tuned"]["loss"],
                    lambda row: row["tuned"]["accuracy"],
                )
            )
            print(f"{name:<22} {choice}  {seconds:.0f} s  loss {loss:.4f}  accuracy {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
