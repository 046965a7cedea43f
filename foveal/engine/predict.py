"""Predictors: from raw things to predictions on the reference path, in float32.

Knows the contracts and backends; the exported file's predictor is in `export.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from foveal.contracts import Predictor, Task
from foveal.engine.device import Runner, rows_at_once
from foveal.model import Model
from foveal.types import Finished, Pieces, Prediction, Raw


def feature_chunks(
    model: Model, task: Task, raws: Iterable[Raw], extract: Runner | None = None
) -> Iterator[tuple[Tensor, Pieces]]:
    """Features and geometry of a batch of raw things at a time; `extract` computes them, PyTorch if None."""
    model.eval()
    waiting, count = iter(raws), rows_at_once(task.input.shape(), maps=model.head.maps)
    while chunk := list(islice(waiting, count)):
        with torch.inference_mode():
            staged = [task.input.seen(raw, model.stem) for raw in chunk]
            x = torch.cat([x for x, _ in staged])
            features = model.head.gather(model.net.levels(x)) if extract is None else extract(x)
            yield features, Pieces.join([pieces for _, pieces in staged])


def finished_chunks(
    model: Model, task: Task, raws: Sequence[Raw], extract: Runner | None = None
) -> Iterator[Finished]:
    """Finished tensors for a batch of raw things at a time."""
    for features, pieces in feature_chunks(model, task, raws, extract):
        with torch.inference_mode():
            yield model.finish(model.head.read(features), pieces)


def live_predictor(model: Model, task: Task, extract: Runner | None = None) -> Predictor:
    """Predict with `model`, its features computed by `extract` where given."""

    def predict(raws: Sequence[Raw]) -> list[Prediction]:
        chunks = finished_chunks(model, task, raws, extract)
        return [prediction for finished in chunks for prediction in task.target.decode(finished)]

    return predict


def placed_predictions(
    model: Model, task: Task, raws: Sequence[Raw], extract: Runner | None = None
) -> list[tuple[Prediction, float | None]]:
    """Each raw thing's prediction, and how far it is from what the network learnt from, where its head can say."""
    found: list[tuple[Prediction, float | None]] = []
    for features, pieces in feature_chunks(model, task, raws, extract):
        distances = model.head.distance(features)
        places = [None] * len(features) if distances is None else distances.tolist()
        found += zip(predict_features(model, task, features, pieces), places, strict=True)
    return found


def feature_distances(model: Model, task: Task, raws: Iterable[Raw], extract: Runner | None = None) -> Tensor | None:
    """(N,) float64: how far raw things are from what the network learnt from; None where its head cannot say."""
    found = []
    for features, _ in feature_chunks(model, task, raws, extract):
        distances = model.head.distance(features)
        if distances is None:
            return None
        found.append(distances)
    return torch.cat(found) if found else None


def predict_features(model: Model, task: Task, features: Tensor, pieces: Pieces) -> list[Prediction]:
    """The same from features that the frozen pass kept: (N, F) -> N predictions."""
    with torch.inference_mode():
        return task.target.decode(model.finish(model.head.read(features), pieces))
