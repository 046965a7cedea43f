"""Other data are told from data of the same kind, and classes that fell from those that did not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import foveal
from foveal import novelty
from foveal.targets._class_metric import ClassMetric
from foveal.types import Prediction
from tests.conftest import Tiny
from tests.photos import CLASSES, write_photos

NAMES = ("cat", "dog")


def details(right: dict[str, tuple[int, int]]) -> dict:
    """What the metric says of so many of so many that are right, by class."""
    metric = ClassMetric(NAMES)
    for k, name in enumerate(NAMES):
        hits, count = right[name]
        labels = [NAMES[k]] * hits + [NAMES[1 - k]] * (count - hits)
        metric.update([Prediction(label, 0.9) for label in labels], [k] * count, range(1000 * k, 1000 * k + count))
    return metric.details()


def changed(data: Path, folder: Path, change) -> Path:
    """The same pictures under the same names, each changed."""
    for file in data.rglob("*.jpg"):
        target = folder / file.parent.name / f"{file.stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(change(np.asarray(Pillow.open(file)))).save(target)
    return folder


def test_more_of_the_same_looks_like_it_and_noise_does_not(tiny: Tiny, tmp_path: Path) -> None:
    """At the size that foveal chooses: at half of it noise is less far off."""
    run, rng = foveal.train(tiny.data, out=tmp_path / "run"), np.random.default_rng(0)
    same = run.evaluate(write_photos(tmp_path / "same", count=10, seed=5)).details
    other = changed(tiny.data, tmp_path / "noise", lambda pixels: rng.integers(0, 256, pixels.shape, np.uint8))
    noise = run.evaluate(other).details
    assert same["distance"]["far"]["value"] <= 0.1
    assert noise["distance"]["far"]["low"] > same["distance"]["far"]["high"]
    assert "another kind" in novelty.lines(noise)[0]
    assert "another kind" not in novelty.lines(same)[0]
    assert same["fell"] == []
    assert len(noise["fell"]) >= 2  # it cannot find all three classes in noise
    assert set(noise["fell"]) < set(CLASSES)


def test_the_limit_is_what_99_percent_of_the_test_examples_stay_below(tiny: Tiny) -> None:
    usual = foveal.load(tiny.run).card["distance"]
    assert 0 < usual["median"] < usual["limit"]
    assert usual["n"] == 60
    units = list(range(100))
    values = [usual["limit"] * (0.5 if k < 90 else 2) for k in units]
    found = novelty.distance({"distance": usual}, values, units)
    assert found is not None
    assert found["far"]["value"] == pytest.approx(0.1)
    assert novelty.distance({"distance": None}, values, units) is None
    assert novelty.distance({"distance": usual}, [None] * 100, units) is None


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ({"cat": (30, 100), "dog": (90, 100)}, ["cat"]),
        ({"cat": (30, 100), "dog": (10, 100)}, ["dog", "cat"]),
        ({"cat": (88, 100), "dog": (100, 100)}, []),
        ({"cat": (1, 2), "dog": (2, 2)}, []),
    ],
)
def test_a_class_fell_where_chance_does_not_explain_it(here: dict[str, tuple[int, int]], expected: list[str]) -> None:
    card = {"details": details({"cat": (90, 100), "dog": (90, 100)})}
    compared = novelty.recalls(card, details(here))
    assert novelty.fallen(compared) == expected
    for row in compared:
        hits, count = here[row["name"]]
        assert row["difference"]["value"] == pytest.approx(hits / count - 0.9)
        assert row["difference"]["low"] < row["difference"]["value"] < row["difference"]["high"]
    told = novelty.lines({"distance": None, "recall": compared, "fell": expected})
    assert len(told) == 2 + len(expected)


def test_a_class_that_is_not_in_the_other_data_is_not_compared() -> None:
    card = {"details": details({"cat": (90, 100), "dog": (90, 100)})}
    assert [row["name"] for row in novelty.recalls(card, details({"cat": (5, 5), "dog": (0, 0)}))] == ["cat"]
