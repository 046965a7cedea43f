"""What to fine-tune in about the same time: which network, at which size, from which stage on, on how many views.

`python -m benchmarks.tuning [--seeds N] [--device cuda] [SET ...]` trains each of the `CHOICES` for a set's kind of
labels on a part of a shared set, by the code of `engine/`, and prints the seconds that views and steps took, and what
was measured on the other examples, before (the closed form at that size) and after. A line of JSON each, then the
means; test parts stay closed. The order of `engine/tuning_plan.py` rests on these figures. coco128 means 100 of its
pictures with masks of ten kinds of things.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from benchmarks import _data
from foveal import formats, nets, tasks
from foveal.contracts import Target, Task
from foveal.engine.checkpoint import State
from foveal.engine.device import Backend, compile_frozen
from foveal.engine.evaluate import measure as estimates_of
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.judging import calibrated_costs
from foveal.engine.reference import joined
from foveal.engine.tail import PlainFeatures, Tail, optimizer_of, own_head
from foveal.engine.views import Trunk, ViewBatches, Views
from foveal.inputs import Image
from foveal.layouts import FormatOptions
from foveal.model import Model
from foveal.types import Dataset, Label, Output, Pieces

COCO = "coco128"
SETS = ("sign-language-digits", "trashnet-150", "bccd", "membrane", COCO)
_CHUNK = 16


@dataclass(frozen=True)
class Choice:
    """What is trained; boundary: its first stage, None: none; erased: in which share of views patches are."""

    net: str
    size: int
    boundary: int | None
    views: int
    epochs: int
    erased: float = 0.5


_OF_CLASSES = (
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
    Choice("lite2", 160, 4, 12, 16),
    Choice("lite2", 160, 4, 12, 30),
    Choice("lite2", 192, 4, 12, 16),
    Choice("lite2", 224, 4, 12, 16),
)
_OF_BOXES = (
    Choice("lite0", 416, None, 8, 15, 0.15),
    Choice("lite0", 416, None, 8, 15, 0.5),
    Choice("lite0", 416, None, 8, 30, 0.15),
)
_OF_MASKS = (
    Choice("lite0", 416, None, 8, 30, 0.15),
    Choice("lite0", 416, None, 8, 30, 0.5),
    Choice("lite0", 416, None, 8, 90, 0.15),
    Choice("lite0", 416, 2, 8, 30, 0.15),
    Choice("lite0", 416, 2, 8, 90, 0.15),
    Choice("lite0", 416, 2, 8, 90, 0.5),
)


@dataclass(frozen=True)
class Kind:
    """How sets with one kind of labels are measured: the share of examples that is learnt from."""

    choices: Sequence[Choice]
    learnt: float


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "classes": Kind(_OF_CLASSES, 0.64),
        "boxes": Kind(_OF_BOXES, 0.7),
        "masks": Kind(_OF_MASKS, 0.8),
    }
)


def measure(data: Dataset, choice: Choice, seed: int, place: str) -> dict[str, object]:
    """Train it once."""
    kind, name = KINDS[data.labels], tasks.guess(data)
    input = replace(Image(choice.size), erasing=choice.erased)
    task = Task(name, input, tasks.TASKS[name].target.fit(data))
    torch.manual_seed(seed)
    model = Model(task, nets.pretrained(choice.net)).eval()
    examples = [example for example in data.examples if example.split != "test"]
    sources, labels = [example.source for example in examples], [task.target.load(one) for one in examples]
    order = np.random.default_rng(seed).permutation(len(labels))
    learnt, unseen = (sorted(part.tolist()) for part in np.split(order, [int(kind.learnt * len(order))]))
    boundary = model.depth if choice.boundary is None else choice.boundary
    trunk, shape = Trunk(model.net, model.head, boundary).eval(), (32, *input.shape())
    deep = replace(task, target=task.target.deepened())
    began = time.perf_counter()
    views = Views(deep, labels, learnt, learnt, choice.views, seed, trunk, torch.bfloat16, place)
    _fill(views, sources, trunk, shape, place, "bfloat16")
    viewed = time.perf_counter() - began
    plain = Views(deep, labels, [], unseen, 0, seed, trunk, torch.float32, place)
    _fill(plain, sources, trunk, shape, place, "float32")
    pieces = input.pieces(torch.tensor([_size(source) for source in sources]))
    own = [labels[row] for row in learnt]
    first = Tail(model.net, model.head, boundary).eval().to(place)
    features = PlainFeatures(first, views, learnt)
    solved = features if model.head.maps else features.together()
    solution = task.target.solve(model.head, solved, own, pieces.take(learnt), np.arange(len(own)))
    assert solution is not None
    head = own_head(deep.target, model.net, model.head)
    head.begin(solution.state, solved)
    target = deep.target.calibrate(solution.left_out, own, pieces.take(learnt))
    tail = Tail(model.net, head, boundary).eval().to(place)
    truth, seen = [labels[row] for row in unseen], pieces.take(unseen)
    before = score(target, _output(tail, plain, unseen), truth, seen)
    rows = task.target.rows_a_step
    schedule = Schedule(choice.epochs * -(-len(learnt) // rows), rows, seed, 10**9)
    began = time.perf_counter()
    batches, optimizer = ViewBatches(views, learnt), optimizer_of(tail)
    for _ in Fitting(tail, target.loss, batches, optimizer, schedule, State(decisions={}), "one"):
        pass
    trained = time.perf_counter() - began
    after = score(target, _output(tail, plain, unseen), truth, seen)
    seconds = {"views_seconds": round(viewed, 1), "steps_seconds": round(trained, 1)}
    return {**asdict(choice), "seed": seed, **seconds, "closed": before, "tuned": after, "unseen": len(unseen)}


def score(target: Target, output: Output, labels: Sequence[Label], pieces: Pieces) -> dict[str, float]:
    """Metrics once calibrated on these very rows, and their mean cost by which the engine judges."""
    calibrated = target.calibrate(output, labels, pieces)
    with torch.inference_mode():
        found = calibrated.decode(calibrated.finish()(output, pieces))
    estimates = estimates_of(calibrated, found, labels, np.arange(len(labels))).estimates
    cost = float(calibrated_costs(target, output, labels, pieces).mean())
    return {"cost": round(cost, 4), **{name: round(own.value, 4) for name, own in estimates.items()}}


def _fill(
    views: Views, sources: Sequence[Path], trunk: Trunk, shape: tuple[int, ...], place: str, dtype: str
) -> None:
    name = "torch" if place == "cuda" else "openvino"
    run = compile_frozen(trunk, shape, Backend(name, place, dtype, channels_last=place == "cuda"))
    for _ in views.fill(sources, run, torch.get_num_threads(), run):
        pass


def _output(tail: Tail, views: Views, rows: Sequence[int]) -> Output:
    with torch.inference_mode():
        parts = [tail(*views.plain(rows[at : at + _CHUNK])[0]) for at in range(0, len(rows), _CHUNK)]
    return {name: tensor.float().cpu() for name, tensor in joined(parts).items()}


def _size(source: Path) -> tuple[int, int]:
    """Height and width."""
    return Image().load(source).shape[:2]


def _read(name: str, folder: Path) -> Dataset:
    root = _data.kinds_of_coco(folder) if name == COCO else _data.shared(name)
    return formats.read(root, FormatOptions(suffixes=Image.suffixes))


def _means(rows: Sequence[dict]) -> Iterator[str]:
    yield f"{statistics.mean(row['views_seconds'] + row['steps_seconds'] for row in rows):.0f} s"
    for name in rows[0]["tuned"]:
        before, after = (statistics.mean(row[when][name] for row in rows) for when in ("closed", "tuned"))
        yield f"{name} {before:.4f} -> {after:.4f}"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("sets", nargs="*", metavar="SET", default=SETS)
    args = parser.parse_args()
    for name in args.sets:
        with tempfile.TemporaryDirectory() as folder:
            data = _read(name, Path(folder))
            found: dict[Choice, list[dict]] = defaultdict(list)
            for seed in range(1, args.seeds + 1):
                for choice in KINDS[data.labels].choices:
                    found[choice].append(measure(data, choice, seed, args.device))
                    print(json.dumps({"set": name, **found[choice][-1]}), flush=True)
        for choice, rows in found.items():
            print(f"{name:<22} {choice}  {'  '.join(_means(rows))}", flush=True)


if __name__ == "__main__":
    main()
