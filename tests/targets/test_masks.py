"""Masks of their own: labels of other data, geometry, the closed form's choice, regions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from scipy import ndimage

from foveal.inputs import Image
from foveal.targets import Masks
from foveal.targets._mask_drawing import COLOURS, called
from foveal.targets._mask_solve import cell_shares
from foveal.types import VOID, Dataset, Draw, Example, Mask, Prediction, Size

NAMES = ("ground", "disc", "bar")
TARGET = Masks(NAMES)


def mask(height: int = 60, width: int = 80) -> np.ndarray:
    array = np.zeros((height, width), np.uint8)
    array[10:30, 20:50] = 1
    array[40:50, 60:70] = 2
    array[:5, :7] = VOID
    return array


def test_labels_of_other_data_are_brought_to_these_classes() -> None:
    """Which name the same things, but not all of them, in another order."""
    other = ("bar", "ground")
    array = np.where(mask() == 2, 0, np.where(mask() == VOID, VOID, 1)).astype(np.uint8)
    label = TARGET.load(Example(Path("a.png"), Mask.of(array, other)))
    np.testing.assert_array_equal(label.array(), np.where(array == 0, 2, np.where(array == VOID, VOID, 0)))
    assert dict(label.pixels) == {"bar": 100, "ground": 4665}
    own = Mask.of(mask(), NAMES)
    assert TARGET.load(Example(Path("a.png"), own)) is own


def test_rarer_classes_count_more_and_all_together_as_much() -> None:
    data = Dataset(Path("/nowhere"), (Example(Path("a.png"), Mask.of(mask(), NAMES)),), NAMES)
    fitted = Masks().fit(data)
    assert fitted.rarest == ("bar", "disc", "ground")
    assert fitted.weights[2] > fitted.weights[1] > fitted.weights[0]
    shares = np.array([dict(Mask.of(mask(), NAMES).pixels)[name] for name in NAMES], float)
    assert shares / shares.sum() @ fitted.weights == pytest.approx(1)


@pytest.mark.parametrize("epoch", range(6))
def test_truth_follows_the_picture(epoch: int) -> None:
    """A picture whose pixels are its mask, cropped, stretched and mirrored as training does."""
    input, array = Image(64, gently=False), np.where(mask() == VOID, 0, mask()).astype(np.uint8)
    raw = np.repeat(np.uint8(array * 100)[:, :, None], 3, axis=2)
    stacked = input.stack(
        [input.pack(np.asarray(Pillow.fromarray(raw).resize((640, 480), Pillow.Resampling.NEAREST)))]
    )
    large = np.asarray(Pillow.fromarray(array).resize((640, 480), Pillow.Resampling.NEAREST))
    x, pieces = input.batch(stacked, Draw(3, epoch, (epoch,)))
    truth = TARGET.encode([Mask.of(large, NAMES)], pieces)["mask"][0].numpy()
    seen = (x[0, 1] * 128 + 127).numpy()
    marked = truth == 1
    assert marked.any()
    inside, outside = np.median(seen[marked]), np.median(seen[truth == 0])
    assert inside > outside + 40


def test_things_too_thin_to_be_seen_are_told() -> None:
    array = np.zeros((600, 800), np.uint8)
    array[100:400, 100:400] = 1
    array[500:503] = 2
    labels, sizes = [Mask.of(array, NAMES)], torch.tensor([[600, 800]])
    (told,) = TARGET.findings(labels, Image(128).pieces(sizes), ["thin.png"])
    assert told.kind == "small-objects"
    assert told.message.startswith("bar: mostly less than 2 pixels broad once pictures are 128 x 128")
    assert told.paths == ("thin.png",)
    assert not TARGET.findings(labels, Image(640).pieces(sizes), ["thin.png"])


def test_swapped_left_and_right() -> None:
    label = Mask.of(mask(), NAMES)
    turned = TARGET.swapped(label, Size(60, 80))
    np.testing.assert_array_equal(turned.array(), mask()[:, ::-1])
    assert turned.pixels == label.pixels


def test_cells_have_shares() -> None:
    truth = torch.from_numpy(mask())[None]
    shares = cell_shares(truth, 3, (6, 8))
    assert shares.shape == (1, 3, 6, 8)
    assert shares[0, :, 1, 2].tolist() == [0, 1, 0]
    assert shares[0].sum(0)[0, 0] == pytest.approx(1 - 35 / 100)
    assert shares[0, 2].sum() == pytest.approx(1)


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    times=st.sampled_from([1, 4, 2.5]),
)
def test_shares_of_cells_are_means_over_their_pixels(seed: int, size: tuple[int, int], times: float) -> None:
    """Against pooling class by class, whether or not cells are whole pixels."""
    dice = np.random.default_rng(seed)
    height, width = (math.ceil(times * side) for side in size)
    truth = torch.from_numpy(dice.choice([0, 1, 2, VOID], (2, height, width)).astype(np.uint8))
    pooled = [F.adaptive_avg_pool2d((truth == kind).float(), size) for kind in range(3)]
    torch.testing.assert_close(cell_shares(truth, 3, size), torch.stack(pooled, dim=1))


def test_void_neither_teaches_nor_counts() -> None:
    output = {
        "cells": torch.randn(1, 3, 15, 20, generator=torch.Generator().manual_seed(0)),
        "usual": torch.zeros(1, 0),
    }
    pieces = Image(60).pieces(torch.tensor([[60, 80]]))
    one, other = mask(), mask()
    one[:, 50:], other[:, 50:] = VOID, VOID
    changed = output["cells"].clone()
    changed[..., 14:] += 5
    truth = TARGET.encode([Mask.of(one, NAMES)], pieces)
    before = TARGET.loss(output, truth)["cross_entropy"]
    after = TARGET.loss({**output, "cells": changed}, truth)["cross_entropy"]
    assert float(before) == pytest.approx(float(after), rel=1e-6)


def test_a_drawn_prediction_tints_all_but_the_ground() -> None:
    found = np.where(mask() == VOID, 0, mask()).astype(np.uint8)
    canvas = Pillow.new("RGB", (80, 60), (90, 90, 90))
    drawn = np.asarray(TARGET.draw(canvas, Prediction(mask=found)))
    assert (drawn[35, 5] == 90).all()
    assert (drawn[20, 30] != 90).any()
    assert (TARGET.draw(canvas, TARGET.ideal(Mask.of(mask(), NAMES))).size) == canvas.size


@given(seed=st.integers(0, 10_000), height=st.integers(1, 90), width=st.integers(1, 90))
def test_each_pixel_has_its_surest_class(seed: int, height: int, width: int) -> None:
    """Against enlarging all classes; cells are nearly sure, nearly even or alike."""
    dice = np.random.default_rng(seed)
    logits = torch.from_numpy(dice.normal(0, dice.choice([0.01, 1, 8]), (5, *dice.integers(1, 9, 2))))
    probabilities = logits.softmax(0).float()
    target = Masks(tuple("abcde"))
    finished = {"probabilities": probabilities[None], "raw_size": torch.tensor([[height, width]])}
    (found,) = target.decode(finished)
    enlarged = F.interpolate(probabilities[None], (height, width), mode="bilinear", align_corners=False)[0]
    np.testing.assert_array_equal(found.mask, enlarged.argmax(0).numpy())
    assert found.score == pytest.approx(float(enlarged.amax(0).mean()), abs=1e-6)


def test_classes_are_named_where_they_are_broadest() -> None:
    """Not the background, nor what is narrower than letters are high; whole names, though they lie at the edge."""
    names = ("background", "a_class_with_a_long_name", "thin", "other")
    mask = np.zeros((200, 300), np.uint8)
    mask[20:120, :40], mask[150:154], mask[100:140, 200:280] = 1, 2, 3
    canvas = Pillow.new("RGB", (300, 200), "white")
    drawn, plain = (np.asarray(own) for own in (called(canvas, mask, names), canvas))
    changed = ndimage.label((drawn != plain).any(2))[0]
    places = [tuple(slice(own.start, own.stop) for own in found) for found in ndimage.find_objects(changed)]
    assert len(places) == 2
    (rows, columns), (other_rows, other_columns) = places
    assert rows.start < 70 < rows.stop
    assert columns.start == 0
    assert columns.stop > 120
    assert other_rows.start < 120 < other_rows.stop
    assert other_columns.start < 240 < other_columns.stop
    assert (drawn[rows, columns] == COLOURS[1]).all(2).mean() > 0.3
    assert (np.asarray(called(canvas, 0 * mask, names)) == plain).all()
