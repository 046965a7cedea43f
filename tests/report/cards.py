"""Realistic run cards and samples for the report's tests, computed from random predictions.

Knows the card's schema as `foveal.report.page` reads it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from foveal import intervals
from foveal.contracts import Canvas
from foveal.report.page import Sample
from foveal.targets._class_metric import ClassMetric
from foveal.types import Explanation, Prediction, Size

NAMES = ("cardboard", "glass", "metal", "paper", "plastic", "trash")


def card(names: tuple[str, ...] = NAMES, n: int = 431, skill: float = 0.9, seed: int = 0) -> dict[str, Any]:
    """A whole card of a run on `names`; about `skill` of n test examples are right."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(names), n, p=rng.dirichlet(np.full(len(names), 20.0)))
    right = rng.random(n) < skill
    said = np.where(right, truth, rng.choice(len(names), n))
    metric = ClassMetric(names)
    confidence = np.clip(rng.normal(0.88, 0.1, n), 1 / len(names), 0.999)
    predictions = [Prediction(names[k], float(c)) for k, c in zip(said, confidence, strict=True)]
    metric.update(predictions, truth.tolist(), list(range(n)))
    test = {name: found.to_json() for name, found in metric.compute().items()}
    train = intervals.proportion(rng.random(2 * n) < 0.985, np.arange(2 * n))
    counts = {"train": 2 * n, "val": n // 3, "test": n}
    return {
        "format": 1,
        "foveal": "0.1.0",
        "created": "2026-08-14T09:31:07+00:00",
        "task": {
            "name": "classify",
            "input": {"kind": "Image", "size": 224, "mirror": True},
            "target": {"kind": "Classes", "class_names": list(names), "temperature": 1.03},
        },
        "net": {"name": "lite0", "weights": "6c0b" * 16, "parameters": 3_400_000},
        "data": {
            "path": "/home/ada/pictures/trashnet-150",
            "reading": f"{len(names)} folders of pictures, each named after its class.",
            "digest": "a1b2" * 16,
            "examples": sum(counts.values()),
            "classes": [
                {"name": name, "train": 30 + 9 * k % 120, "val": 20, "test": int((truth == k).sum())}
                for k, name in enumerate(names)
            ],
            "left_out": [{"path": "glass/broken.jpg", "reason": "truncated after 2 kB"}],
            "shown": ["cardboard/cardboard1.jpg -> cardboard", "glass/glass7.jpg -> glass"],
        },
        "splits": {"how": "drawn", "folds": None, "counts": counts, "units": 1391},
        "recipe": {"seed": 0, "size": "small", "minutes": 1.0},
        "decisions": {"backend": "openvino-bf16", "threads": 2, "second_view": False},
        "versions": {"python": "3.11.9", "torch": "2.11.0", "openvino": "2025.4"},
        "seconds": {"read": 4.1, "solve": 31.6, "evaluate": 12.9, "report": 3.2, "total": 51.8},
        "cost": {
            "images_per_second": 148.2,
            "peak_share": 0.61,
            "backend": "openvino-bf16",
            "probe": {"openvino-bf16": 257.0, "openvino-f32": 154.0, "torch-bf16": 78.0, "torch-f32": 21.0},
        },
        "scores": {
            "test": test,
            "train": {"accuracy": train.to_json()},
            "gap": {"accuracy": {"value": 0.076, "low": 0.048, "high": 0.109, "n": 3 * n}},
        },
        "learning": "The last 4 of 8 stages were trained and kept.",
        "scored_on": "The model that was trained on the training examples only.",
        "handed_over": "The same recipe, trained on all examples; it cannot be scored on examples it has not seen.",
        "gap_sentence": "It does clearly better on what it has seen: more examples would help.",
        "details": metric.details(),
        "tolerance": _tolerance(rng, n),
        "audit": _audit(),
        "distance": {"median": 0.18, "limit": 0.24, "n": n},
        "curves": [_curve(rng, name) for name in ("fold 0", "handed over")],
        "calibration": {"before": 0.071, "after": 0.024, "temperature": 1.03},
        "overlap": {"count": 7, "without": {"accuracy": test["accuracy"]}},
        "findings": [
            {"kind": "duplicates", "message": "The same picture twice", "paths": ["glass/a.jpg", "glass/b.jpg"]},
            {"kind": "labels", "message": "Under two classes", "paths": [f"paper/{k}.jpg" for k in range(31)]},
        ],
        "errors": [
            {"name": f"{names[k]}/{i}.jpg", "truth": names[k], "predicted": names[s], "confidence": float(c)}
            for i, (k, s, c) in enumerate(zip(truth, said, confidence, strict=True))
            if k != s
        ],
        "weights_sha256": "0f9e" * 16,
    }  # fmt: skip


def _audit() -> dict[str, Any]:
    """What `foveal audit` leaves: the ledger is faithful, the middle is not, a patch would be told, a tint not."""

    def about(value: float, n: int = 60) -> dict[str, Any]:
        return {"value": value, "low": value - 0.04, "high": value + 0.04, "n": n}

    methods = {
        name: {
            "gain": about(gain),
            "agreement": about(0.41),
            "over_best_rival": about(0.1),
            "supported": about(0.8, 20),
        }
        for name, gain in (("ledger", 0.31), ("occlusion", 0.36), ("gradients", 0.22))
    }
    told = {name: {"auroc": 0.98, "hits": 0.9, "rank": 1.2, "examples": 8.0} for name in methods}
    trial = {"class": "glass", "examples": 60, "flipped": {"copy": 0.97, "control": 0.01}, "proved": True}
    return {
        "task": "classify", "run": "runs/trash", "seconds": {"total": 91.0}, "looked_at": "val", "examples": 60,
        "methods": methods, "rivals": {"edges": about(0.19), "middle": about(0.06)}, "best": "occlusion",
        "on_manifold": {"whole": about(0.91), "half_erased": about(0.8), "kept": 0.88, "enough": True},
        "shuffled": {"2": about(0.7), "4": about(0.4)},
        "pointing": {"base": 0.3, "examples": 60, "methods": {"ledger": {"hits": about(0.77), "skill": 0.67}}},
        "untaught": {"same_example": about(0.07), "other_examples": about(0.22), "passes": True},
        "shortcuts": {
            "patch": [{"strength": 0, "has_place": True, **trial, "methods": told}],
            "stripe": [{"strength": 0, "has_place": True, **trial, "proved": False}],
            "tint": [{"strength": 2, "has_place": False, **trial}],
        },
    }  # fmt: skip


def _tolerance(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Two kinds of disturbance, the second the harder; the further the worse."""
    table = []
    for kind, strength, share in (
        ("rotation", "5°", 0.97),
        ("rotation", "15°", 0.8),
        ("noise", "10 % of the range", 0.6),
    ):
        found = [intervals.proportion(rng.random(n) < p, np.arange(n)).to_json() for p in (share - 0.05, share)]
        table.append({"kind": kind, "strength": strength, "score": found[0], "unchanged": found[1]})
    return {
        "why_not": "",
        "examples": n,
        "of": 2 * n,
        "metric": "accuracy",
        "undisturbed": intervals.proportion(rng.random(n) < 0.92, np.arange(n)).to_json(),
        "disturbances": table,
        "sentence": "It is most sensitive to noise.",
    }


def _curve(rng: np.random.Generator, name: str) -> dict[str, Any]:
    losses = np.exp(-np.arange(1, 41) / 12) + rng.uniform(0, 0.05, 40)
    return {"name": name, "steps": list(range(3, 123, 3)), "losses": {"cross_entropy": losses.tolist()}}


def picture(rng: np.random.Generator, width: int = 320, height: int = 240) -> Canvas:
    """Smooth random colours, which a JPEG packs as well as a photograph."""
    small = rng.integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def explanation(
    rng: np.random.Generator, canvas: Canvas, names: tuple[str, str] = ("glass", "metal"), *, strength: float = 0.1
) -> Explanation:
    """Three levels of a 224 px input, exact, with a runner-up; names: the class and its runner-up."""
    affine = np.array([[224 / canvas.width, 0, 0], [0, 224 / canvas.height, 0]], np.float32)

    def one(name: str, mean: float) -> Explanation:
        cells = tuple(rng.normal(mean, 1, (g, g)).astype(np.float32) * strength * (7 / g) ** 2 for g in (28, 14, 7))
        total = sum(float(level.sum(dtype=np.float64)) for level in cells)
        prediction = Prediction(name, 0.9)
        return Explanation("ledger", prediction, cells, -1.2, total - 1.2, True, affine, Size(224, 224))

    return replace(one(names[0], 0.35), runner_up=one(names[1], 0.05))


def samples(count: int, names: tuple[str, ...] = NAMES, seed: int = 0) -> list[Sample]:
    """Random pictures with made-up explanations; every other one is wrong."""
    rng, found = np.random.default_rng(seed), []
    for i in range(count):
        canvas, said = picture(rng), names[i % len(names)]
        other = names[(i + 1) % len(names)]
        truth = said if i % 2 else other
        found.append(
            Sample(
                f"{truth}/{i}.jpg",
                truth,
                Prediction(said, 0.9),
                canvas,
                explanation(rng, canvas, (said, other)),
                said,
            )
        )
    return found
