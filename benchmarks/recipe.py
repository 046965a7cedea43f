"""What each choice in training from nothing is worth: `python -m benchmarks.recipe [VARIANT ...]`.

Trains the network of `nets/whitened.py` by the code of `engine/gradient.py` with one choice at a time undone, on the
shared sets of single-label pictures, each seed with other examples held out (of training parts only; test parts are
not opened). Prints mean accuracy, seen from one side and from both, and loss; the difference to the recipe as it is,
seed by seed, with its standard error, seen from both sides where these may be swapped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import _data
from foveal import formats
from foveal.contracts import Task
from foveal.engine import device, gradient, training_plan
from foveal.engine.checkpoint import Optimizer
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.gradient import GHOST, StackedBatches, Trainee, as_trained, optimizer_of
from foveal.inputs import Image, image
from foveal.layouts import FormatOptions
from foveal.model import Model
from foveal.nets import whitened
from foveal.recipe import Recipe
from foveal.targets import Classes
from foveal.types import Draw, Stacked

_JUDGED_AT_ONCE, _PREPARED = 500, 500


class Set(NamedTuple):
    """shown: how many rows a training sees in all; rows: how many it has, all but the held-out ones if None."""

    folder: str
    shown: int
    rows: int | None = None
    held_out: float = 0.2
    mirror: bool = True


SETS: Mapping[str, Set] = {
    "cifar": Set("cifar10-jpeg", 440_000, held_out=0.1),
    "cifar-5000": Set("cifar10-jpeg", 340_000, 5000, held_out=0.1),
    "signs": Set("sign-language-digits", 60_000, mirror=False),
    "trash": Set("trashnet-150", 60_000),
}


class Material(NamedTuple):
    task: Task
    stacked: Stacked
    labels: list[int]


def material(folder: Path, part: str = "train") -> Material:
    """The training part or the test part, decoded at the size that a network from nothing would see."""
    data = formats.read(folder, FormatOptions(suffixes=Image.suffixes))
    examples = [one for one in data.examples if (one.split == "test") is (part == "test")]
    sources = [one.source for one in examples]
    input = Image()
    input = replace(input, size=input.own_size(sources))
    task = Task("classify", input, Classes().fit(data))
    with ThreadPoolExecutor() as pool:
        packed = list(pool.map(lambda source: input.pack(input.load(source)), sources))
    return Material(task, input.stack(packed), [task.target.load(one) for one in examples])


def train(own: Material, name: str, seed: int, place: str) -> dict[str, float]:
    """One training with the recipe as it stands at the moment."""
    began, which = time.perf_counter(), SETS[name]
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(own.labels)).tolist()
    count = round(which.held_out * len(order))
    held, rows = order[:count], sorted(order[count:][: which.rows])
    task = as_trained(own.task, mirror=which.mirror)
    torch.manual_seed(seed)
    model = Model(task, whitened.Whitened(3, task.input.size))
    trainee = Trainee(model, device.training_dtype(place))
    first = own.stacked.take(rows[:_PREPARED])
    with torch.no_grad():
        trainee.net.prepare(task.input.batch(first, None)[0])
    trainee = trainee.to(place).train()
    recipe = Recipe(seed=seed)
    batch = training_plan.batch_size(len(rows))
    batches = StackedBatches(task, own.stacked.take(rows).to(place), [own.labels[row] for row in rows], seed, place)
    schedule = Schedule(which.shown // batch, batch, seed, 10**9)
    optimizer = _optimizer(trainee, recipe, batch)
    fitting = Fitting(trainee, task.target.loss, batches, optimizer, schedule, ghost=min(GHOST, batch))
    learning, losses = time.perf_counter(), []
    for step in fitting:
        losses.append(sum(step.values.values()))
    seconds = time.perf_counter() - learning
    found = judge(trainee, own, held, place)
    tenth = len(losses) // 10
    return {
        **found,
        "worst": max(losses),
        "seen": statistics.mean(losses[-tenth:]),
        "rows per second": schedule.steps * batch / seconds,
        "seconds": time.perf_counter() - began,
    }


def judge(trainee: Trainee, own: Material, held: Sequence[int], place: str) -> dict[str, float]:
    trainee.eval()
    one, both = [], []
    with torch.inference_mode():
        for start in range(0, len(held), _JUDGED_AT_ONCE):
            part = own.stacked.take(held[start : start + _JUDGED_AT_ONCE]).to(place)
            x = own.task.input.batch(part, None)[0].contiguous(memory_format=torch.channels_last)
            one.append(trainee(x)["logits"].float().cpu())
            both.append((trainee(x.flip(3))["logits"].float().cpu() + one[-1]) / 2)
    truth = torch.tensor([own.labels[row] for row in held])
    upright, sided = torch.cat(one), torch.cat(both)
    return {
        "accuracy": 100 * _right(upright, truth),
        "both sides": 100 * _right(sided, truth),
        "loss": float(F.cross_entropy(upright, truth)),
    }


def _right(logits: Tensor, truth: Tensor) -> float:
    return float((logits.argmax(1) == truth).double().mean())


def _adam(trainee: Trainee, recipe: Recipe, batch: int) -> torch.optim.Optimizer:
    parameters = [one for one in trainee.parameters() if one.requires_grad]
    on_gpu = parameters[0].is_cuda
    rate = 2e-3 * (batch / 512) ** 0.5
    return torch.optim.AdamW(parameters, rate, (0.9, 0.98), weight_decay=recipe.weight_decay, capturable=on_gpu)


def _sgd(trainee: Trainee, recipe: Recipe, batch: int) -> torch.optim.Optimizer:
    parameters = [one for one in trainee.parameters() if one.requires_grad]
    rate = 0.05 * batch / 512
    fused = parameters[0].is_cuda  # the others cannot be recorded
    return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=fused)


_uniform = Draw.uniform


def _in_turns(self: Draw, name: str, *shape: int, device: str | torch.device = "cpu") -> Tensor:
    """Mirrored in every second epoch, instead of at random."""
    if name != "mirror":
        return _uniform(self, name, *shape, device=device)
    first = _uniform(replace(self, epoch=0), name, *shape, device=device)
    return first if self.epoch % 2 == 0 else 1 - first


def _optimizer(trainee: Trainee, recipe: Recipe, batch: int) -> Optimizer:
    return optimizer_of(trainee, recipe, batch)


def _rooted(trainee: Trainee, recipe: Recipe, batch: int) -> Optimizer:
    rate = recipe.learning_rate * (batch / 512) ** 0.5
    return optimizer_of(trainee, replace(recipe, learning_rate=rate), batch)


def _with(**changed: Any) -> Callable:
    return lambda trainee, own, batch: optimizer_of(trainee, replace(own, **changed), batch)


def _dirac(inputs: int, outputs: int) -> nn.Conv2d:
    """Begins by passing its inputs on, as far as it has outputs for them."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight.data[: min(inputs, outputs)])
    return conv


def _constant(module: object, name: str, value: object) -> Callable[[], Any]:
    return lambda: patch.object(module, name, value)


def _ghost(rows: int) -> Callable[[], Any]:
    return lambda: patch(f"{__name__}.GHOST", rows)


def _by(optimizer: Callable) -> Any:
    return patch(f"{__name__}._optimizer", optimizer)


VARIANTS: Mapping[str, Callable[[], Any]] = {
    "as it is": ExitStack,
    "first layer at random": _constant(whitened.Whitening, "prepare", lambda self, x: None),
    "Dirac": _constant(whitened, "_convolution", _dirac),
    "AdamW for Muon": partial(_by, _adam),
    "SGD for Muon": partial(_by, _sgd),
    "no smoothing": _constant(gradient, "_SMOOTHING", 0.0),
    "head at full rate": _constant(gradient, "_FULL_RATE_INPUTS", 10**9),
    "nothing erased": _constant(image, "RARELY_ERASED", 0.0),
    "half erased": _constant(image, "RARELY_ERASED", 0.5),
    "sides in turns": _constant(Draw, "uniform", _in_turns),
    "BatchNorm over 32": _ghost(32),
    "BatchNorm over 512": _ghost(512),
    "half the rate": partial(_by, _with(learning_rate=0.5 * Recipe().learning_rate)),
    "twice the rate": partial(_by, _with(learning_rate=2 * Recipe().learning_rate)),
    "rate by the batch's root": partial(_by, _rooted),
}


def run(jobs: Sequence[tuple[str, str, int]], sets: Mapping[str, Material], place: str, out: str) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // 4) if place != "cpu" else torch.get_num_threads())
    device.keep_memory()
    for name, variant, seed in jobs:
        with VARIANTS[variant]():
            found = train(sets[name], name, seed, place)
        line = {"set": name, "variant": variant, "seed": seed, **{k: round(v, 4) for k, v in found.items()}}
        with Path(out).open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Mean accuracies by set and variant, and their paired difference to the recipe as it is."""
    text = []
    for name in dict.fromkeys(line["set"] for line in lines):
        own = {(line["variant"], line["seed"]): line for line in lines if line["set"] == name}
        judged = "both sides" if SETS[name].mirror else "accuracy"
        for variant in dict.fromkeys(variant for variant, _ in own):
            seeds = [seed for kind, seed in own if kind == variant and ("as it is", seed) in own]
            values = {
                key: [own[variant, seed][key] for seed in seeds]
                for key in ("accuracy", "both sides", "loss", "worst", "rows per second")
            }
            gains = [own[variant, seed][judged] - own["as it is", seed][judged] for seed in seeds]
            error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
            shown = [f"{statistics.mean(one):>9.2f}" for one in values.values() if one]
            if seeds:
                gain = f"{statistics.mean(gains):+.2f} ± {error:.2f}"
                text.append(f"{name:<11} {variant:<24} {len(seeds)} {' '.join(shown)}  {gain}")
    head = f"{'set':<11} {'variant':<24} n  accuracy both sides   loss   worst loss  rows/s  gain"
    return "\n".join([head, *text])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", help=", ".join(VARIANTS))
    parser.add_argument("--sets", default="cifar-5000,signs,trash")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time, on a GPU")
    parser.add_argument("--out", default="recipe.jsonl", help="where each training's figures are appended")
    asked = parser.parse_args()
    names = asked.sets.split(",")
    folders = {SETS[name].folder: material(_data.shared(SETS[name].folder)) for name in names}
    sets = {name: folders[SETS[name].folder] for name in names}
    variants = dict.fromkeys(["as it is", *(asked.variants or VARIANTS)])
    jobs = [(name, variant, seed) for seed in range(asked.seeds) for name in names for variant in variants]
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=run, args=(jobs[number :: asked.workers], sets, asked.device, asked.out))
        for number in range(asked.workers)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(table([json.loads(line) for line in Path(asked.out).read_text().splitlines()]))


if __name__ == "__main__":
    main()
