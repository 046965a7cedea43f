"""One GPU against airbench's published recipe, in the same run: `python -m benchmarks.gpu [--seeds N]`.

Both train on the 50,000 pictures of cifar10-jpeg, which lie on the GPU, and are tested on the other 10,000. Timed,
for both: from the first look at the training pictures to the last step, and the test, each picture seen from both
sides; not timed: decoding, and a training before that warms up. airbench (MIT) is used as installed, `pip install
airbench torchvision`; its loader reads cifar10/train.pt, which is written from the JPEGs. --epochs: of foveal's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import _data
from benchmarks.recipe import Material, material
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.gradient import GHOST, StackedBatches, Trainee, as_trained, optimizer_of
from foveal.model import Model
from foveal.nets.whitened import Whitened
from foveal.recipe import Recipe

_DEVICE, _BATCH, _PREPARED, _TESTED_AT_ONCE = "cuda", 512, 2000, 2000


def foveal_training(train: Material, test: Material, seed: int, epochs: float) -> dict[str, float]:
    """Seconds, accuracy seen from one side and from both."""
    task = as_trained(train.task, mirror=True)
    torch.manual_seed(seed)
    torch.cuda.synchronize()
    began = time.perf_counter()
    trainee = Trainee(Model(task, Whitened(3, task.input.size)), torch.bfloat16)
    with torch.no_grad():
        trainee.net.prepare(task.input.batch(train.stacked.take(range(_PREPARED)).to("cpu"), None)[0])
    trainee = trainee.to(_DEVICE).train()
    batches = StackedBatches(task, train.stacked, train.labels, seed, _DEVICE)
    schedule = Schedule(round(epochs * len(train.labels) / _BATCH), _BATCH, seed, 10**9)
    optimizer = optimizer_of(trainee, Recipe(seed=seed), _BATCH)
    for _ in Fitting(trainee, task.target.loss, batches, optimizer, schedule, ghost=GHOST):
        pass
    torch.cuda.synchronize()
    trained = time.perf_counter() - began
    trainee.eval()
    x = task.input.batch(test.stacked, None)[0].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        one, other = (
            torch.cat([trainee(part)["logits"] for part in side.split(_TESTED_AT_ONCE)]) for side in (x, x.flip(3))
        )
    truth = torch.tensor(test.labels)
    upright, both = (float((scores.argmax(1).cpu() == truth).double().mean()) for scores in (one, one + other))
    return {
        "seconds": time.perf_counter() - began,
        "trained": trained,
        "accuracy": 100 * both,
        "one side": 100 * upright,
    }


def airbench_training(seed: int) -> dict[str, float]:
    """The same of airbench94, by its own functions and its own clock."""
    import airbench  # pyright: ignore[reportMissingImports]  # it needs a GPU

    torch.manual_seed(seed)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        airbench.train94()
    lines = [line.strip("|").split("|") for line in printed.getvalue().splitlines() if "|" in line]
    rows = [[cell.strip() for cell in line] for line in lines]
    heads = next(row for row in rows if "tta_val_acc" in row)
    trained, tested = (dict(zip(heads, row, strict=True)) for row in rows[-2:])
    return {
        "seconds": float(tested["total_time_seconds"]),
        "trained": float(trained["total_time_seconds"]),
        "accuracy": 100 * float(tested["tta_val_acc"]),
        "one side": 100 * float(trained["val_acc"]),
    }


def write_for_airbench(folder: Path, parts: dict[str, Material]) -> None:
    folder.mkdir(parents=True)
    for name, own in parts.items():
        kept = {"images": own.stacked.array.cpu(), "labels": torch.tensor(own.labels), "classes": []}
        torch.save(kept, folder / f"{name}.pt")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=9.9)
    asked = parser.parse_args()
    root = _data.shared("cifar10-jpeg")
    train, test = material(root), material(root, part="test")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_for_airbench(Path("cifar10"), {"train": train, "test": test})
        train, test = (own._replace(stacked=own.stacked.to(_DEVICE)) for own in (train, test))
        print(torch.cuda.get_device_name(), f"torch {torch.__version__}", flush=True)
        found: dict[str, list[dict[str, float]]] = {"foveal": [], "airbench94": []}
        foveal_training(train, test, 0, 1)
        airbench_training(0)
        for seed in range(asked.seeds):
            for name, own in (
                ("foveal", foveal_training(train, test, seed, asked.epochs)),
                ("airbench94", airbench_training(seed)),
            ):
                found[name].append(own)
                print(
                    json.dumps({"program": name, "seed": seed, **{k: round(v, 3) for k, v in own.items()}}),
                    flush=True,
                )
    for name, rows in found.items():
        means = {key: round(statistics.mean(row[key] for row in rows), 3) for key in rows[0]}
        print(f"{name:<11} n={len(rows)} {means}")


if __name__ == "__main__":
    main()
