"""Planted shortcuts: what is proved by intervention, and which maps tell of it."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.explain.shortcut import Labelled, Shortcut
from foveal.inputs import Audio, Image, Raster, Series, Text
from foveal.types import Cue
from tests.explain.worlds import GRID, painted, world


def pictures(seed: int, count: int = 40) -> Labelled:
    """Half of them reddish, half bluish, all over."""
    dice = np.random.default_rng(seed)
    raws, labels = [], []
    for number in range(count):
        colours = dice.integers(-5, 6, (GRID, GRID, 3)).astype(float)
        colours[:, :, 2 * (number % 2)] += 4
        raws.append(painted(colours))
        labels.append(number % 2)
    return Labelled(raws, labels)


def greened(raw: np.ndarray, strength: int, dice: np.random.Generator) -> np.ndarray:
    """One square in bright green, which means nothing to the classes."""
    row, column = dice.integers(0, GRID, 2) * 8
    found = raw.copy()
    found[row : row + 8, column : column + 8, 1] = 255
    return found


@pytest.fixture(scope="module")
def shortcut() -> Shortcut:
    return Shortcut(*world(), learnt=pictures(0, 120), unseen=pictures(1))


def test_the_copy_uses_the_mark_and_the_control_does_not(shortcut: Shortcut) -> None:
    found = shortcut.trial(Cue(True, greened), 2)
    flipped = found["flipped"]
    assert isinstance(flipped, dict)
    assert flipped["copy"] >= 0.8
    assert flipped["control"] <= 0.05
    assert found["proved"]


def test_maps_of_a_sum_tell_of_it(shortcut: Shortcut) -> None:
    methods = shortcut.trial(Cue(True, greened), 2)["methods"]
    assert isinstance(methods, dict)
    assert set(methods) == {"ledger", "occlusion", "gradients"}
    for name in ("ledger", "occlusion"):
        assert methods[name]["auroc"] >= 0.95, name
        assert methods[name]["hits"] >= 0.9, name
        assert methods[name]["rank"] < 2, name


def test_a_mark_that_is_not_there_is_not_used(shortcut: Shortcut) -> None:
    found = shortcut.trial(Cue(True, lambda raw, strength, dice: raw), 2)
    assert not found["proved"]
    assert "methods" not in found
    assert not list(shortcut.maps(Cue(True, lambda raw, strength, dice: raw), 2))


def test_of_the_maps_of_marked_examples_only_the_controls_miss_the_mark(shortcut: Shortcut) -> None:
    found = list(shortcut.maps(Cue(True, greened), 2))
    assert len(found) >= 8
    hits: dict[str, list[bool]] = {}
    for erasing, cells, maps in found:
        assert cells.sum() == 1
        assert cells.shape == erasing.places.shape
        for name, values in maps.items():
            hits.setdefault(name, []).append(bool(cells[values.argmax()]))
    assert set(hits) == {"ledger", "occlusion", "gradients", "control"}
    assert np.mean(hits["ledger"]) >= 0.9 <= np.mean(hits["occlusion"])
    assert np.mean(hits["control"]) <= 0.2


def test_what_has_no_place_is_not_looked_for_in_maps(shortcut: Shortcut) -> None:
    assert "methods" not in shortcut.trial(Cue(False, greened), 2)


THINGS = [
    (Image(64), np.full((40, 60, 3), 90, np.uint8)),
    (Audio(), np.sin(np.arange(8000) / 9).astype(np.float32)),
    (Series(), np.random.default_rng(0).standard_normal((2, 80)).astype(np.float32)),
    (Raster(), np.random.default_rng(0).normal(400, 30, (20, 24, 5)).astype(np.float32)),
    (Text(), "nothing in particular, said at some length"),
]


@pytest.mark.parametrize(("input", "raw"), THINGS, ids=lambda own: type(own).__name__)
def test_marks_change_things_the_more_the_stronger_and_leave_the_original_alone(input, raw) -> None:
    assert input.cues()
    for name, cue in input.cues().items():
        before = raw if isinstance(raw, str) else raw.copy()
        found = [cue.mark(raw, strength, np.random.default_rng(3)) for strength in (0, 1, 2)]
        assert raw == before if isinstance(raw, str) else np.array_equal(raw, before), name
        assert all(type(one) is type(raw) for one in found)
        if isinstance(raw, str):
            counts = [len(one.split()) for one in found]
            assert counts == [len(raw.split()) + n for n in (1, 2, 3)]
            continue
        assert all(one.shape == raw.shape and one.dtype == raw.dtype for one in found)
        changes = [float(np.abs(one.astype(float) - raw).mean()) for one in found]
        assert 0 < changes[0] < changes[1] < changes[2], name
        again = cue.mark(raw, 1, np.random.default_rng(3))
        assert np.array_equal(again, found[1]), name
