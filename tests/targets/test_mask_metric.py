"""Overlap of masks against scikit-learn, with void pixels and classes that are never there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import accuracy_score, jaccard_score

from foveal.targets._mask_metric import MaskMetric, border_agreement, breadths
from foveal.types import VOID, Mask, Prediction

NAMES = ("a", "b", "c", "never")


def pictures(seed: int, count: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    """True and found masks of several sizes."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        shape = tuple(rng.integers(8, 40, 2))
        truth = rng.choice([0, 1, 2, VOID], shape, p=[0.6, 0.25, 0.05, 0.1]).astype(np.uint8)
        found = np.where(rng.random(shape) < 0.7, np.where(truth == VOID, 0, truth), rng.integers(0, 4, shape))
        made.append((truth, found.astype(np.uint8)))
    return made


def measured(made: list[tuple[np.ndarray, np.ndarray]]) -> MaskMetric:
    metric = MaskMetric(NAMES)
    for unit, (truth, found) in enumerate(made):
        metric.update([Prediction(mask=found)], [Mask.of(truth, NAMES)], [unit])
    return metric


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_scikit_learn_says(seed: int) -> None:
    made = pictures(seed)
    truth, found = (np.concatenate([pair[side].ravel() for pair in made]) for side in (0, 1))
    truth, found = truth[truth != VOID], found[np.concatenate([pair[0].ravel() for pair in made]) != VOID]
    metric = measured(made)
    estimates = metric.compute()
    each = jaccard_score(truth, found, average=None, labels=[0, 1, 2])
    assert estimates["miou"].value == pytest.approx(each.mean(), abs=1e-12)
    assert estimates["pixel_accuracy"].value == pytest.approx(accuracy_score(truth, found), abs=1e-12)
    rows = metric.details()["pixels"]
    assert [row["iou"]["value"] for row in rows[:3]] == pytest.approx(each.tolist(), abs=1e-12)  # type: ignore[index]
    assert rows[3]["iou"] is None  # type: ignore[index]
    for estimate in estimates.values():
        assert estimate.n == len(made)
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high


def test_pictures_that_agree_on_everything() -> None:
    made = [(truth, np.where(truth == VOID, 1, truth)) for truth, _ in pictures(5)]
    found = measured(made).compute()
    assert found["miou"].value == found["pixel_accuracy"].value == 1


def test_a_border_may_be_a_little_off_and_not_much() -> None:
    truth = np.zeros((300, 400), np.uint8)
    truth[100:200, 100:300] = 1
    scores = []
    for shift in (0, 3, 20):
        found = np.roll(truth, shift, axis=1)
        scores.append(border_agreement(truth, found))
    assert scores[0] == 1
    assert scores[1] == 1  # 0.75 % of a diagonal of 500 pixels
    assert 0.5 < scores[2] < 0.75  # the long sides still agree
    assert np.isnan(border_agreement(np.zeros((9, 9), np.uint8), truth[:9, :9]))
    assert border_agreement(truth, np.zeros_like(truth)) == 0


@pytest.mark.parametrize("shape", [(30, 40), (150, 210), (400, 300)])
def test_borders_agree_as_far_as_squares_around_them_reach(shape: tuple[int, int]) -> None:
    """Against SciPy's filter of the largest value."""
    rng = np.random.default_rng(sum(shape))
    truth, found = (np.kron(rng.integers(0, 3, (40, 40)), np.ones((10, 10))).astype(np.uint8) for _ in range(2))
    truth, found = (one[: shape[0], : shape[1]] for one in (truth, np.roll(found, 3, axis=(0, 1))))
    reach = 1 + 2 * max(1, round(0.0075 * float(np.hypot(*shape))))
    own, other = (bordering(one) for one in (truth, found))
    near_own, near_other = (ndimage.maximum_filter(one, reach) for one in (own, other))
    precision, recall = near_own[other].mean(), near_other[own].mean()
    assert border_agreement(truth, found) == pytest.approx(2 * precision * recall / (precision + recall))


def bordering(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right or lower neighbour is another."""
    right, below = (np.pad(mask, 1, mode="edge")[1:-1, 2:], np.pad(mask, 1, mode="edge")[2:, 1:-1])
    return (mask != right) | (mask != below)


def test_a_strip_is_as_broad_as_it_is() -> None:
    mask = np.zeros((200, 300), np.uint8)
    mask[40:46] = 1  # from side to side
    mask[100:140, 50:90] = 2
    mask[150:] = VOID
    found = breadths(mask)
    assert found[1] == pytest.approx(6)
    assert found[2] == pytest.approx(20)  # a square is as broad as a strip of half its side
    assert set(found) == {0, 1, 2}
    assert not breadths(np.zeros((5, 5), np.uint8))
