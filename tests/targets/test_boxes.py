"""Boxes: from cells to boxes and back, the closed form on scenes whose maps show the truth, confidence, drawing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from foveal.inputs import Image
from foveal.targets import Boxes
from foveal.targets import _box_cells as box_cells
from foveal.targets._box_cells import IGNORED, NOTHING
from foveal.targets._box_solve import logistic, rescale
from foveal.types import Box, Draw, Pieces, Prediction, Stacked

SIDE, STRIDE = 128, 4
TARGET = Boxes(("disc", "bar"), ("bar", "disc"), most=6)


def test_what_a_cell_should_say_is_its_box() -> None:
    boxes = torch.tensor([[3.0, 5, 30, 41], [60, 60, 61, 120], [0, 0, 128, 128]])
    cells = torch.tensor([33, 500, 1023])
    usual = torch.tensor([[3.0, 2.0], [0.5, 4.0], [0.0, 0.0]])
    said = box_cells.to_say(boxes, usual, cells, 32, STRIDE)
    found = box_cells.claimed(said.T, usual.T, cells, 32, STRIDE)
    torch.testing.assert_close(found, boxes, atol=1e-3, rtol=1e-4)


def test_cells_are_surest_in_the_middle_of_the_object() -> None:
    boxes, kinds = torch.tensor([[16.0, 32, 48, 96], [80, 80, 112, 112]]), torch.tensor([1, IGNORED])
    goal = box_cells.goal(boxes, kinds, 2, 32, 32, STRIDE)
    assert divmod(int(goal.sure[1].argmax()), 32) in {(row, column) for row in (15, 16) for column in (7, 8)}
    assert not goal.sure[0].any()
    counts = goal.counts.reshape(32, 32)
    assert not counts[24, 24]
    assert counts[16, 8]
    assert counts[0, 0]


def test_objects_weigh_alike_however_many_cells_they_have() -> None:
    boxes, kinds = torch.tensor([[0.0, 0, 96, 96], [104, 104, 120, 120]]), torch.tensor([0, 1])
    goal = box_cells.goal(boxes, kinds, 2, 32, 32, STRIDE)
    near = (goal.best > box_cells.SAYS_A_BOX).nonzero()[:, 0]
    whose = goal.whose[near]
    counts = torch.bincount(whose)
    assert counts[0] > 10 * counts[1] > 0
    for weights in (box_cells.alike(goal)[near], box_cells.alike(goal, near)):
        torch.testing.assert_close(torch.stack([weights[whose == n].sum() for n in (0, 1)]), torch.ones(2))
    assert not box_cells.alike(goal)[goal.best <= box_cells.SAYS_A_BOX].any()


def test_boxes_too_small_to_be_seen_are_told() -> None:
    image = Image(size=SIDE)
    sizes = torch.tensor([[1280, 2560], [128, 128]])
    labels = [(Box("disc", 1.0, 0, 0, 100, 100), Box("disc", 1.0, 0, 0, 200, 80)), (Box("bar", 1.0, 5, 5, 20, 14),)]
    (told,) = TARGET.findings(labels, image.pieces(sizes), ["large.png", "small.png"])
    assert told.kind == "small-objects"
    assert told.message.startswith("1 of 3 boxes are less than 8 pixels wide or high once pictures are 128 x 128")
    assert told.paths == ("large.png",)
    assert "--size 256 shows them twice as large" in told.message
    assert not TARGET.findings(labels[1:], image.pieces(sizes[1:]), ["small.png"])


def test_what_cannot_be_seen_larger_is_to_be_cut_up() -> None:
    sizes = torch.tensor([[9000, 12_000]])
    (told,) = TARGET.findings([(Box("bar", 1.0, 0, 0, 20, 20),)], Image(size=2048).pieces(sizes), ["large.png"])
    assert told.message.endswith("cut these up")


@given(st.integers(0, 10**6))
def test_of_boxes_that_overlap_the_surest_stays(seed: int) -> None:
    """Against the loop that fast suppression stands for, where a suppressed box suppresses too."""
    noise = torch.Generator().manual_seed(seed)
    corners = torch.rand(1, 12, 2, generator=noise) * 20
    boxes = torch.cat([corners, corners + 1 + torch.rand(1, 12, 2, generator=noise) * 10], dim=2)
    kinds = torch.randint(2, (1, 12), generator=noise)
    found = box_cells.kept(boxes, kinds, 0.4)[0].tolist()
    for n in range(12):
        beaten = any(kinds[0, m] == kinds[0, n] and _iou(boxes[0, m], boxes[0, n]) > 0.4 for m in range(n))
        assert found[n] is not beaten


def _iou(a: Tensor, b: Tensor) -> float:
    both = float((torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp_min(0).prod())
    return both / (float((a[2:] - a[:2]).prod()) + float((b[2:] - b[:2]).prod()) - both)


def test_truth_follows_the_picture() -> None:
    label = (Box("disc", 1.0, 10, 20, 60, 40), Box("bar", 1.0, 70, 70, 90, 90, ignored=True))
    raw = Stacked(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8), torch.tensor([[200, 100]]))
    _, plain = Image(SIDE).batch(raw, None)
    truth = TARGET.encode([label], plain)
    torch.testing.assert_close(truth["boxes"][0, 0], torch.tensor([12.8, 12.8, 76.8, 25.6]))
    assert truth["kinds"][0].tolist() == [0, IGNORED, *[NOTHING] * 4]
    _, moved = Image(SIDE).batch(raw, Draw(1, 3, (5,)))
    found = TARGET.encode([label], moved)["boxes"][0, 0].reshape(1, 2, 2)
    expected = moved.to_model(torch.tensor([[[10.0, 20], [60, 40]]])).clamp(0, SIDE)
    assert sorted(found.flatten().tolist()) == pytest.approx(sorted(expected.flatten().tolist()), abs=1e-3)


def scenes(count: int, seed: int) -> tuple[Tensor, list[tuple[Box, ...]], Pieces]:
    """Maps that show, noisily and linearly, what cells should say; at two strides, from raw pictures of 256 x 64."""
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pieces = Image(SIDE).pieces(torch.tensor([[64, 256]] * count))
    labels, rows = [], []
    for number in range(count):
        label = []
        for _ in range(rng.integers(0, 4)):
            x, y, width, height = rng.uniform(0, 200), rng.uniform(0, 40), rng.uniform(24, 56), rng.uniform(12, 24)
            label.append(Box(("disc", "bar")[rng.integers(2)], 1.0, x, y, x + width, y + height))
        labels.append(tuple(label))
        truth = TARGET.encode([tuple(label)], pieces.take([number]))
        there = truth["kinds"][0] >= 0
        goal = box_cells.goal(truth["boxes"][0], truth["kinds"][0], 2, 32, 32, STRIDE)
        cells = torch.arange(32 * 32)
        said = torch.zeros(1024, 4)
        if there.any():
            said = (
                box_cells.to_say(goal.boxes[goal.whose], torch.zeros(2), cells, 32, STRIDE)
                * (goal.best > 0.05)[:, None]
            )
        fine = torch.cat([goal.sure.T, said], dim=1).T.reshape(6, 32, 32)
        coarse = torch.randn(3, 16, 16, generator=noise)
        rows.append(torch.cat([(fine + 0.05 * torch.randn(6, 32, 32, generator=noise)).flatten(), coarse.flatten()]))
    return torch.stack(rows), labels, pieces


def test_the_closed_form_finds_what_the_maps_show() -> None:
    features, labels, pieces = scenes(60, 0)
    head = TARGET.head((6, 3), (4, 8))
    solution = TARGET.solve(head, features, labels, pieces, np.arange(60))
    head.load_state_dict(solution.state)
    target = TARGET.calibrate(solution.left_out, labels, pieces)
    assert 0 < target.threshold < 1
    unseen, truth, places = scenes(40, 1)
    with torch.no_grad():
        predictions = target.decode(target.finish()(head.read(unseen), places))
    metric = target.metric()
    metric.update(predictions, truth, range(40))
    assert metric.compute()["map50"].value > 0.9
    assert np.mean([target.agrees(p, label) for p, label in zip(predictions, truth, strict=True)]) > 0.6
    # Nor is it unsure of what it finds.
    sure = [box.score for p in predictions for box in p.boxes if box.score > 0.05]
    assert np.mean([score > 0.5 for score in sure]) > 0.3


def test_units_are_left_out_together() -> None:
    features, labels, pieces = scenes(24, 2)
    head = TARGET.head((6, 3), (4, 8))
    together = TARGET.solve(head, features, labels, pieces, np.zeros(24, int) + np.arange(24) // 6)
    apart = TARGET.solve(head, features, labels, pieces, np.arange(24))
    assert not torch.allclose(together.left_out["cells"], apart.left_out["cells"])
    torch.testing.assert_close(together.state["centre"], apart.state["centre"])


def test_confidence_is_the_share_that_is_right() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(2, 3, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-(1.7 * values - 2)))
    slope, offset = logistic(values, right)
    assert (slope, offset) == pytest.approx((1.7, -2), abs=0.15)
    assert logistic(values, ~right)[0] > 0  # the surer is not told less surely


def test_very_many_values_give_the_share_that_is_right_too() -> None:
    """They are taken together by nearly equal values; scikit-learn takes each by itself."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.2, 0.1, 50_000)
    right = rng.random(len(values)) < 1 / (1 + np.exp(-(30 * values - 6)))
    slope, offset = logistic(values, right)
    truth = LogisticRegression(C=np.inf, tol=1e-8).fit(values[:, None], right)
    assert slope == pytest.approx(truth.coef_[0, 0], rel=1e-3)
    assert offset == pytest.approx(truth.intercept_[0], rel=1e-3)


def test_it_is_told_and_drawn_from_the_threshold_on() -> None:
    boxes = (Box("disc", 0.9, 5, 5, 50, 40, origin=3), Box("bar", 0.2, 60, 60, 90, 90, origin=4))
    prediction = Prediction("disc", 0.9, boxes=boxes, origin=3)
    assert TARGET.says(prediction) == "1 disc"
    assert TARGET.agrees(prediction, (Box("disc", 1.0, 6, 5, 50, 40),))
    assert not TARGET.agrees(prediction, ())
    assert not TARGET.agrees(prediction, boxes)
    row = TARGET.row(prediction)["boxes"]
    assert row == [{"label": "disc", "score": 0.9, "left": 5, "top": 5, "right": 50, "bottom": 40}]
    canvas = Pillow.new("RGB", (100, 100), (90, 90, 90))
    drawn = np.asarray(TARGET.draw(canvas, prediction))
    assert (drawn[40, 10:45] != 90).any()
    assert (drawn[60:90, 60:90] == 90).all()


def told(*rows: tuple[float, float, float, float, float]) -> dict[str, Tensor]:
    """What `finish` gives of one picture: confidence, then the sides of each box, all of the first class."""
    values = torch.tensor(rows)
    return {
        "boxes": values[None, :, 1:],
        "confidence": values[None, :, 0],
        "kind": torch.zeros(1, len(rows), dtype=torch.int64),
        "origin": torch.arange(len(rows))[None],
    }


def test_whether_a_box_is_a_twin_may_be_up_to_rounding() -> None:
    """Of width 100, moved by 25: an overlap of 0.6, which is just what makes a twin."""
    surer = (0.9, 0.0, 0.0, 100.0, 50.0)
    kept, dropped = ((sure, 25.0, 0.0, 125.0, 50.0) for sure in (0.3, 0.0))
    assert TARGET.difference(told(surer, kept), told(surer, dropped)) == 0
    assert TARGET.difference(told(surer, dropped), told(surer, kept)) == 0
    kept, dropped = ((sure, 35.0, 0.0, 135.0, 50.0) for sure in (0.3, 0.0))
    assert TARGET.difference(told(surer, kept), told(surer, dropped)) == pytest.approx(0.3)
    assert TARGET.difference(told(surer, dropped), told(surer, kept)) == pytest.approx(0.3)


def test_how_far_two_paths_are_apart() -> None:
    one = told((0.9, 0.0, 0.0, 100.0, 50.0))
    assert TARGET.difference(one, one) == 0
    assert TARGET.difference(one, told((0.8, 0.0, 0.0, 100.0, 50.0))) == pytest.approx(0.1)
    assert TARGET.difference(one, told((0.9, 0.0, 0.0, 102.0, 50.0))) == pytest.approx(0.02)
    assert TARGET.difference(one, told((0.9, 200.0, 0.0, 300.0, 50.0))) == pytest.approx(0.9)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 1, 5), (2, 3, 7, 4), (5, 1, 16, 16)])
@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_peaks_are_no_less_sure_than_their_neighbours(
    shape: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_cells, "_AT_ONCE", at_once)
    sure = torch.randint(0, 9, shape, generator=torch.Generator().manual_seed(0)).float()
    logits, kinds, cells = box_cells.peaks(sure, 300)
    highest = sure >= F.max_pool2d(sure, 3, 1, 1)
    for row in range(shape[0]):
        told = logits[row].isfinite()
        assert int(told.sum()) == int(highest[row].sum())
        assert highest[row].flatten(1)[kinds[row][told], cells[row][told]].all()
        assert torch.equal(logits[row][told], sure[row].flatten(1)[kinds[row][told], cells[row][told]])
        assert (logits[row][1:] <= logits[row][:-1]).all()


def test_a_class_of_one_object_is_not_taken_for_sure() -> None:
    """What is said of it where it is left out is noise, by which it could be told apart as well as not."""
    rows, side, dice = 40, 16, np.random.default_rng(0)
    boxes = torch.tensor([[8.0, 8, 24, 24]]).repeat(rows, 1, 1)
    kinds = torch.zeros(rows, 1, dtype=torch.int64)
    kinds[7] = 1
    truth = {"boxes": boxes, "kinds": kinds, "plane": torch.full((rows, 2), 64.0)}
    goals = [box_cells.goal_of(truth, row, 3, (side, side))[0].sure.reshape(3, side, side) for row in range(rows)]
    cells = torch.from_numpy(dice.normal(size=(rows, 3, side, side))).float()
    cells[:, 0] = 0.5 * torch.stack(goals)[:, 0] + 0.05 * cells[:, 0]
    cells[:, 1:] *= 1e-4
    cells[7, 1] += 2e-4 * goals[7][1]
    state = {"weight": torch.ones(7, 5), "bias": torch.zeros(7)}
    (often, _), (once, _), (never, base) = rescale(state, cells, truth, 3, range(rows))
    assert often > 5
    assert once == pytest.approx(often, rel=0.5)
    assert never == pytest.approx(often, rel=0.5)
    assert base < -3
    torch.testing.assert_close(state["weight"][:4, 0], torch.tensor([often, once, never, 1.0]))


def test_where_no_class_is_there_or_can_be_told_scales_stay_finite() -> None:
    """Of pictures without objects, and of scores that say the opposite of what is there."""
    rows, side = 8, 16
    nothing = {
        "boxes": torch.zeros(rows, 1, 4),
        "kinds": torch.full((rows, 1), NOTHING),
        "plane": torch.full((rows, 2), 64.0),
    }
    cells = torch.randn(rows, 2, side, side, generator=torch.Generator().manual_seed(0))
    state = {"weight": torch.ones(6, 5), "bias": torch.zeros(6)}
    assert rescale(state, cells, nothing, 2, range(rows)) == [(1.0, 0.0), (1.0, 0.0)]
    truth = {**nothing, "boxes": torch.tensor([[8.0, 8, 24, 24]]).repeat(rows, 1, 1)}
    truth["kinds"] = torch.arange(rows)[:, None] % 2
    goals = [box_cells.goal_of(truth, row, 2, (side, side))[0].sure.reshape(2, side, side) for row in range(rows)]
    found = rescale(state, -torch.stack(goals), truth, 2, range(rows))
    assert all(0 < slope < 1 and np.isfinite(offset) for slope, offset in found)
