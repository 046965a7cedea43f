"""Events over time: how they are told, and their F1 against a search through all ways to pair them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from foveal.inputs import Recording
from foveal.targets import Masks
from foveal.targets._events import Event, EventMetric, events_in_words, events_of, events_table, in_frames, stretched
from foveal.types import VOID, Mask, Prediction

NAMES = ("background", "cat", "dog")


def row(*events: tuple[int, int, int], frames: int = 300) -> np.ndarray:
    """(1, frames): class, first frame and first frame after it of each event."""
    mask = np.zeros((1, frames), np.uint8)
    for kind, start, end in events:
        mask[0, start:end] = kind
    return mask


def test_what_is_alike_in_a_row_is_an_event() -> None:
    mask = row((1, 10, 30), (2, 30, 60), (VOID, 100, 120), (1, 299, 300))
    assert events_of(mask, NAMES) == [Event("cat", 10, 30), Event("dog", 30, 60), Event("cat", 299, 300)]
    assert events_in_words(mask, NAMES) == "cat 0.10–0.30 s, dog 0.30–0.60 s, cat 2.99–3.00 s"
    assert events_table(mask, NAMES).splitlines()[:2] == ["onset,offset,label", "0.10,0.30,cat"]
    assert events_in_words(row(), NAMES) == "nothing"
    assert events_of(row(), NAMES) == []


def most_pairs(said: list[Event], true: list[Event]) -> int:
    """By trying all orders."""
    few, many = sorted((said, true), key=len)
    best = 0
    for order in permutations(many, len(few)):
        fits = 0
        for one, other in zip(few, order, strict=True):
            truth = other if many is true else one
            collar = max(20, 0.2 * (truth.offset - truth.onset))
            fits += (
                one.label == other.label
                and abs(one.onset - other.onset) <= 20
                and abs(one.offset - other.offset) <= collar
            )
        best = max(best, fits)
    return best


@pytest.mark.parametrize("seed", range(5))
def test_each_said_event_finds_one_true_one(seed: int) -> None:
    dice, metric = np.random.default_rng(seed), EventMetric(NAMES)
    both = said_in_all = true_in_all = 0
    for unit in range(12):
        true = [(int(dice.integers(1, 3)), start, start + int(dice.integers(5, 45))) for start in range(0, 250, 50)]
        said = [
            (kind, max(0, a + int(dice.integers(-25, 25))), b + int(dice.integers(-25, 25)))
            for kind, a, b in true
            if dice.random() < 0.8
        ]
        masks = row(*said), row(*true)
        metric.update([Prediction(mask=masks[0])], [Mask.of(masks[1], NAMES)], [unit])
        found = [events_of(mask, NAMES) for mask in masks]
        both += most_pairs(*found)
        said_in_all, true_in_all = said_in_all + len(found[0]), true_in_all + len(found[1])
    estimates = metric.compute()
    assert list(estimates) == ["miou", "pixel_accuracy", "event_f1"]
    assert both > 0
    assert estimates["event_f1"].value == pytest.approx(2 * both / (said_in_all + true_in_all), abs=1e-12)
    assert estimates["event_f1"].n == 12
    rows = metric.details()["events"]
    assert [one["name"] for one in rows] == ["cat", "dog"]  # type: ignore[index]
    assert sum(one["events"] for one in rows) == true_in_all  # type: ignore[index]


@pytest.mark.parametrize("frames", [100, 128, 200])
def test_a_place_in_the_plane_is_that_place_in_time(frames: int) -> None:
    """Shorter, as long and longer than the window of 1.28 seconds, of which the middle is shown."""
    target = Masks(NAMES, timed=True)
    pieces = Recording(64, 8000, 1.28).pieces(torch.tensor([[1, frames]]))
    label = Mask.of(row((1, frames // 2 - 20, frames // 2 + 12), frames=frames), NAMES)
    truth = target.encode([label], pieces)["mask"]
    assert truth.shape == (1, 64, 32)
    cells = torch.stack([(truth == kind).float() for kind in range(3)], dim=1)[:, :, :1] * 20
    found = target.decode(target.finish()({"cells": cells, "usual": cells.new_zeros(1, 0)}, pieces))[0]
    assert found.mask is not None
    assert found.mask.shape == (1, frames)
    ((_, onset, offset),) = events_of(found.mask, NAMES)
    assert abs(onset - (frames // 2 - 20)) <= 2
    assert abs(offset - (frames // 2 + 12)) <= 2
    assert target.says(found) == events_in_words(found.mask, NAMES)


def test_between_cells_lies_what_is_between_them() -> None:
    cells = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])
    found = in_frames(cells, (0.0, 40.0), 40)[0, 0]
    assert found.shape == (40,)
    assert float(found[14]) == pytest.approx(0.95)
    assert float(found[:5].max()) == 0
    turned = in_frames(cells.flip(2), (0.0, 40.0), 40)
    torch.testing.assert_close(in_frames(cells, (0.0, 40.0), 40).flip(2), turned)


def test_a_prediction_of_a_frame_more_or_less_is_compared_all_the_same() -> None:
    """A recording of another rate may begin a frame more once it is resampled."""
    label = Mask.of(row((1, 50, 90), (2, 200, 300)), NAMES)
    for frames in (299, 301):
        metric, said = EventMetric(NAMES), row((1, 50, 90), (2, 200, frames), frames=frames)
        metric.update([Prediction(mask=said)], [label], [0])
        assert {name: one.value for name, one in metric.compute().items()} == {
            "miou": 1,
            "pixel_accuracy": 1,
            "event_f1": 1,
        }
        assert Masks(NAMES, timed=True).agrees(Prediction(mask=said), label)


def test_a_mask_over_time_covers_a_picture_from_top_to_bottom() -> None:
    found = stretched(row((1, 150, 300)), (20, 6))
    assert found.shape == (6, 20)
    assert (found[:, 10:] == 1).all()
    assert (found[:, :10] == 0).all()
