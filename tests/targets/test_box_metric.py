"""Mean average precision against faster-coco-eval, on scenes with crowds, doubles, ties and empty pictures."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from foveal.targets._box_metric import BoxMetric, kinds, match
from foveal.types import Box, Estimate, Prediction

NAMES = ("ant", "bee", "never")
Scene = tuple[list[Box], list[Box]]


def scenes(seed: int, pictures: int = 40, ties: bool = False) -> list[Scene]:
    """True boxes, and boxes found near some of them, elsewhere, twice or of the wrong class."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(pictures):
        truth, found = [], []
        for _ in range(rng.integers(0, 9)):
            x, y, width, height = rng.uniform(0, 200), rng.uniform(0, 200), *rng.uniform(5, 60, 2)
            name = NAMES[rng.integers(2)]
            truth.append(Box(name, 1.0, x, y, x + width, y + height, ignored=bool(rng.random() < 0.15)))
            for _ in range(rng.integers(0, 3)):
                shift = rng.normal(0, 0.15, 4) * (width, height, width, height)
                left, top, right, bottom = np.array([x, y, x + width, y + height]) + shift
                score = round(float(rng.random()), 1 if ties else 9)
                said = name if rng.random() < 0.9 else NAMES[rng.integers(2)]
                found.append(Box(said, score, left, top, max(right, left + 1), max(bottom, top + 1)))
        made.append((truth, found))
    return made


def reference(made: list[Scene]) -> tuple[float, float]:
    """map50 and map50_95 as faster-coco-eval has them."""
    images = [{"id": n, "width": 300, "height": 300} for n in range(len(made))]
    categories = [{"id": k, "name": name} for k, name in enumerate(NAMES)]
    rows = [
        {"image_id": n, "category_id": NAMES.index(b.label), "bbox": _xywh(b), "iscrowd": int(b.ignored)}
        for n, (truth, _) in enumerate(made)
        for b in truth
    ]
    truth = [{**row, "id": n + 1, "area": row["bbox"][2] * row["bbox"][3]} for n, row in enumerate(rows)]
    found = [
        {"image_id": n, "category_id": NAMES.index(b.label), "bbox": _xywh(b), "score": b.score}
        for n, (_, boxes) in enumerate(made)
        for b in boxes
    ]
    own = COCO({"images": images, "categories": categories, "annotations": truth})
    judge = COCOeval_faster(own, own.loadRes(found), iouType="bbox", print_function=lambda *_: None)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return float(judge.stats[1]), float(judge.stats[0])


def _xywh(box: Box) -> list[float]:
    return [box.left, box.top, box.right - box.left, box.bottom - box.top]


def measured(made: list[Scene]) -> BoxMetric:
    metric = BoxMetric(NAMES)
    for number, (truth, found) in enumerate(made):
        metric.update([Prediction(boxes=tuple(found))], [tuple(truth)], [number])
    return metric


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_it_is_what_coco_means(seed: int, ties: bool) -> None:
    made = scenes(seed, ties=ties)
    found = measured(made).compute()
    assert (found["map50"].value, found["map50_95"].value) == pytest.approx(reference(made), abs=1e-9)


def test_intervals_come_from_pictures_and_hold_the_value() -> None:
    for estimate in measured(scenes(7)).compute().values():
        assert estimate.n == 40
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high


def test_classes_are_told_one_by_one() -> None:
    metric = measured(scenes(8))
    rows = metric.details()["found"]
    assert [row["name"] for row in rows] == list(NAMES)  # type: ignore[index,union-attr]
    ant, bee, never = rows  # type: ignore[misc]
    mean = (ant["map50"]["value"] + bee["map50"]["value"]) / 2
    assert metric.compute()["map50"].value == pytest.approx(mean)
    assert (never["map50"], never["boxes"], never["curve"]) == (None, 0, [])
    assert all(a >= b for a, b in zip(ant["curve"], ant["curve"][1:], strict=False))


def test_nothing_found_is_nothing_and_all_found_is_all() -> None:
    box = Box("ant", 0.9, 1, 1, 9, 9)
    assert measured([([box], []), ([box], [])]).compute()["map50"].value == 0
    assert measured([([], [box])]).compute()["map50"] == Estimate(0.0, None, None, 1)
    perfect = measured([([box], [box]), ([box], [box]), ([], [])]).compute()
    assert (perfect["map50"].value, perfect["map50_95"].value) == (1, 1)


def test_of_two_found_for_one_the_surer_counts() -> None:
    sides = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    hits, passed = match(sides, sides[:1], np.array([False]))
    assert hits[:, 0].all()
    assert not hits[:, 1].any()
    assert not passed.any()
    hits, passed = match(sides, sides[:1], np.array([True]))
    assert hits.all()
    assert passed.all()


def test_what_pictures_contribute_adds_up() -> None:
    """Pseudo-values: their mean is the score, but for what is not linear in pictures, of the order of 1 / n."""
    made = scenes(3, pictures=60)
    metric = measured(made)
    estimates = metric.compute()
    parts = metric.by_picture()
    assert parts.shape == (60,)
    score = (estimates["map50"].value + estimates["map50_95"].value) / 2
    assert parts.mean() == pytest.approx(score, abs=0.02)
    worse = measured([(truth, [] if n < 10 else found) for n, (truth, found) in enumerate(made)])
    assert worse.by_picture()[:10].mean() < parts[:10].mean()


def test_boxes_that_are_shown_are_told_apart() -> None:
    def box(label: str, left: float, score: float = 0.9, top: float = 0.0, ignored: bool = False) -> Box:
        return Box(label, score, left, top, left + 10, top + 10, ignored=ignored)

    truth = [box("ant", 0), box("bee", 100), box("ant", 200), box("ant", 300, ignored=True)]
    found = [
        box("ant", 1), box("ant", 2, 0.8), box("ant", 100), box("ant", 206), box("bee", 500), box("ant", 300)
    ]  # fmt: skip
    told = kinds(found, truth)
    assert dict(told) == {
        "right": 1, "double": 1, "other class": 1, "badly placed": 1, "nothing there": 1, "missed": 2
    }  # fmt: skip
