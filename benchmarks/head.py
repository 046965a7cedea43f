"""What each choice in the closed-form head is worth: `python -m benchmarks.head [--seeds N]`.

Prints mean accuracy and negative log-likelihood over random 80/20 splits, for every choice left out and for other
input sizes and a mirrored second view, on the shared sets of single-label pictures and the embedded digits. The
figures in comments of `targets/classes.py`, `linalg.py` and `inputs/image.py` are of this kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import _data
from foveal import demo, formats, linalg, nets
from foveal.contracts import Task
from foveal.engine.device import Backend, compile_frozen
from foveal.engine.frozen import Gathered
from foveal.inputs import Image
from foveal.layouts import FormatOptions
from foveal.model import Model
from foveal.targets import Classes
from foveal.targets._calibration import best_scale

_BATCH = 32
_SIZES = (96, 160, 224, 288)


def features(
    folder: Path, size: int, *, mirrored: bool = False, rounded: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """(N, F) features, (N,) labels and (F,) block weights of pictures; rounded: to 8 bits once resized."""
    data = formats.read(folder, FormatOptions(suffixes=Image.suffixes))
    task = Task("classify", Image(size), Classes().fit(data))
    model = Model(task, nets.pretrained("lite0")).eval()
    run = compile_frozen(Gathered(model.net, model.head), (_BATCH, 3, size, size), Backend("openvino"))
    rows = []
    for start in range(0, len(data.examples), _BATCH):
        part = data.examples[start : start + _BATCH]
        with torch.inference_mode():
            x = torch.cat([model.stem(task.input.tensor(task.input.load(e.source)))[0] for e in part])
            x = (x * 128).round() / 128 if rounded else x
            rows.append((run(x) + run(x.flip(3))) / 2 if mirrored else run(x))
    labels = torch.tensor([task.target.load(example) for example in data.examples])
    return torch.cat(rows), labels, model.head.block_weights()  # type: ignore[operator]


def score(x: Tensor, y: Tensor, weights: Tensor | None, seeds: int, tested: Tensor | None = None) -> str:
    """Mean accuracy, NLL and left-out accuracy over random 80/20 splits; tested: on other features."""
    tested = x if tested is None else tested
    count, found = int(y.max()) + 1, []
    for seed in range(seeds):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
        seen, unseen = order[: int(0.8 * len(y))], order[int(0.8 * len(y)) :]
        ridge = linalg.fit_ridge(x[seen], F.one_hot(y[seen], count), np.arange(len(seen)), weights)
        scores = (tested[unseen].double() - ridge.centre) @ ridge.weight + ridge.bias
        logits = scores * best_scale(ridge.left_out, y[seen])
        right = (logits.argmax(1) == y[unseen]).double().mean()
        left_out = (ridge.left_out.argmax(1) == y[seen]).double().mean()
        found.append([float(right), float(F.cross_entropy(logits, y[unseen])), float(left_out)])
    accuracy, loss, left_out = np.mean(found, axis=0)
    return f"accuracy {accuracy:.4f}  NLL {loss:.4f}  left-out accuracy {left_out:.4f}"


def without_bound(x: Tensor) -> tuple[Tensor, Tensor]:
    """The features' own mean and deviation, without the bound for rare ones."""
    deviation = x.std(0, correction=0)
    return x.mean(0), torch.where(deviation > 0, deviation, torch.inf)


def measure(name: str, folder: Path, size: int, seeds: int) -> None:
    """Print a line a variant."""

    def line(variant: str, text: str) -> None:
        print(f"{name:<22} {variant:<28} {text}", flush=True)

    x, y, weights = features(folder, size)
    line(f"as it is, {size} px", score(x, y, weights, seeds))
    line("all features count alike", score(x, y, None, seeds))
    bounded: Callable = linalg._moments
    linalg._moments = without_bound
    line("rare features unbounded", score(x, y, weights, seeds))
    linalg._moments = bounded
    line("with a mirrored view", score(features(folder, size, mirrored=True)[0], y, weights, seeds))
    line("tested on rounded pictures", score(x, y, weights, seeds, features(folder, size, rounded=True)[0]))
    for other in _SIZES:
        line(f"at {other} px", score(features(folder, other)[0], y, weights, seeds))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    measure("digits", demo.write_digits(), 64, seeds)
    for name in ("trashnet-150", "sign-language-digits"):
        measure(name, _data.shared(name), 288, seeds)


if __name__ == "__main__":
    main()
