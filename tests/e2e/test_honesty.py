"""A score that cannot be earned is not given: random labels score as chance, however often a picture is repeated."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

import foveal

PICTURES = 70


def noise_with_random_labels(folder: Path, copies: int) -> Path:
    """Smooth random pictures; each is saved `copies` times, re-compressed, always under the same random label."""
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Pillow.fromarray(small).resize((64, 64), Pillow.Resampling.BICUBIC)
        target = folder / ("heads" if rng.random() < 0.5 else "tails")
        target.mkdir(parents=True, exist_ok=True)
        for copy in range(copies):
            picture.save(target / f"{number:03}-{copy}.jpg", quality=95 - 15 * copy)
    return folder


def test_random_labels_score_as_chance(tmp_path: Path) -> None:
    run = foveal.train(noise_with_random_labels(tmp_path / "data", 1), out=tmp_path / "run", minutes=0.1)
    accuracy = run.test["accuracy"]
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < 0.5 < accuracy.high


def test_copies_of_a_picture_do_not_vouch_for_each_other(tmp_path: Path) -> None:
    run = foveal.train(noise_with_random_labels(tmp_path / "data", 3), out=tmp_path / "run", minutes=0.1)
    folds, units = defaultdict(set), defaultdict(set)
    with (tmp_path / "run" / "splits.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            folds[row["file"].split("-")[0]].add(row["fold"])
            units[row["file"].split("-")[0]].add(row["unit"])
    assert all(len(found) == 1 for found in folds.values()), "copies share a fold"
    assert len(set().union(*units.values())) == PICTURES
    accuracy = run.test["accuracy"]
    assert accuracy.n == 3 * PICTURES
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < 0.55, "repeated pictures would score far above chance if they leaked"
    single = 1.96 * (0.25 / accuracy.n) ** 0.5
    assert accuracy.high - accuracy.low > 2.4 * single, "the interval counts pictures, not copies"
    assert any(finding["kind"] == "duplicates" for finding in run.card["findings"])
