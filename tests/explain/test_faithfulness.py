"""Erasing, and what is measured by it, where it is known what a network looks at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn

from foveal.explain.erasing import Erasing
from foveal.explain.faithfulness import STEPS, agreement, faithfulness, in_words
from foveal.explain.gradients import gradients
from foveal.explain.grid import on_grid
from foveal.explain.ledger import ledger
from foveal.explain.measured import with_faithfulness
from foveal.explain.occlusion import occlusion
from foveal.explain.randomised import randomised
from foveal.model import Model
from foveal.types import Explanation, Prediction, Size
from tests.explain.worlds import GRID, SIDE, SIZE, Loudest, around, painted, reds, world


@pytest.fixture(scope="module")
def erasing() -> Erasing:
    return Erasing(*world(), painted(reds()))


def test_erasing_a_square_takes_away_what_it_has_beyond_those_around(erasing: Erasing) -> None:
    red = reds()[:, :, 0]
    assert erasing.prediction.label == "red"
    np.testing.assert_allclose(erasing.effects(), (60 * (red - around(red)) / 128 / GRID**2).ravel(), atol=1e-4)


def test_effects_are_those_of_a_plain_loop_in_float64(erasing: Erasing) -> None:
    model, task = world()
    double = model.double()
    x, found = erasing.x.double(), []
    squares = x.reshape(3, GRID, SIDE, GRID, SIDE).mean((2, 4)).numpy()
    fills = torch.from_numpy(np.stack([around(square) for square in squares]))
    with torch.no_grad():
        whole = task.target.score(double.head(double.net(x)), erasing.prediction)
        for cell in range(GRID**2):
            row, column = divmod(cell, GRID)
            hidden = x.clone()
            place = hidden[0, :, row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            place[:] = fills[:, row, column][:, None, None]
            found.append(float(whole - task.target.score(double.head(double.net(hidden)), erasing.prediction)))
    np.testing.assert_allclose(erasing.effects(), found, atol=1e-4)


def test_in_a_sum_the_ledger_is_the_truth_and_is_supported(erasing: Erasing) -> None:
    model, task = world()
    found = with_faithfulness(model, task, painted(reds()), ledger(model, task, painted(reds())))
    assert found.faithfulness is not None
    assert found.erased is not None
    np.testing.assert_allclose(
        on_grid(found, (GRID, GRID)), (60 * reds()[:, :, 0] / 128 / GRID**2).ravel(), atol=1e-3
    )
    assert found.faithfulness.agreement > 0.8
    assert found.faithfulness.verdict == "supported"
    assert found.faithfulness.gain > max(found.faithfulness.chance)
    assert in_words(found.faithfulness).startswith("supported: without the 3 tenths")
    np.testing.assert_allclose(found.erased.cells[0].ravel(), erasing.effects(), atol=1e-5)


def test_what_is_seen_but_not_used_is_unsupported(erasing: Erasing) -> None:
    maps = {"green": reds()[:, :, 1].ravel(), "turned": -erasing.effects()}
    found = faithfulness(erasing, maps, erasing.effects())
    assert found["green"].verdict != "supported"
    assert found["turned"].verdict == "unsupported"
    assert found["turned"].agreement == pytest.approx(-1)
    assert found["turned"].gain < 0


def test_a_curve_goes_from_all_to_nothing_in_tenths(erasing: Erasing) -> None:
    effects = erasing.effects()
    found = faithfulness(erasing, {"truth": effects}, effects)["truth"]
    assert len(found.deletion) == len(found.insertion) == STEPS + 1
    assert found.deletion[0] == found.insertion[0] == pytest.approx(erasing.confidence)
    assert found.deletion[-1] == found.insertion[-1] == pytest.approx(0.5)  # nothing is left to tell them apart
    order = np.argsort(-effects, kind="stable")
    for step in (3, 7):
        gone = np.zeros(GRID**2, bool)
        gone[order[: round(GRID**2 * step / STEPS)]] = True
        assert found.deletion[step] == pytest.approx(float(erasing.left(gone[None])[1][0]))
    gain = np.mean(found.insertion[1:-1]) - np.mean(found.deletion[1:-1])
    assert found.gain == pytest.approx(float(gain))
    assert sum(found.chance) == pytest.approx(0, abs=1e-9)  # each order and its reverse


def test_two_that_stand_in_for_one_another_have_no_effect_alone() -> None:
    """Why a map of single effects is judged by erasing many at once."""
    colours = np.zeros((GRID, GRID, 3))
    colours[1, 1, 0] = colours[5, 4, 0] = 100
    erasing = Erasing(*world(Loudest()), painted(colours))
    effects = erasing.effects()
    assert np.abs(effects).max() < 1e-5
    both = np.zeros((1, GRID**2), bool)
    both[0, [1 * GRID + 1, 5 * GRID + 4]] = True
    assert erasing.score - erasing.left(both)[0][0] > 10


def test_gradients_add_up_where_the_network_is_a_sum(erasing: Erasing) -> None:
    model, task = world()
    like = ledger(model, task, painted(reds()))
    others = [painted(reds(seed)) for seed in (1, 2)]
    found = gradients(model, task, erasing, others, like)
    total = found.bias + float(found.cells[0].sum(dtype=np.float64))
    assert total == pytest.approx(erasing.score, abs=1e-3)
    assert found.cells[0].shape == (4 * GRID, 4 * GRID)
    mean = np.mean([reds(seed)[:, :, 0] for seed in (1, 2)], axis=0)
    expected = 60 * (reds()[:, :, 0] - mean) / 128 / GRID**2
    np.testing.assert_allclose(on_grid(found, (GRID, GRID)), expected.ravel(), atol=1e-3)


def test_occlusion_keeps_the_geometry_and_the_score(erasing: Erasing) -> None:
    model, task = world()
    like = ledger(model, task, painted(reds()))
    found = occlusion(erasing, like)
    assert found.method == "occlusion"
    assert found.score == like.score
    assert found.bias + float(found.cells[0].sum()) == pytest.approx(like.score, abs=1e-4)
    assert found.model_size == Size(SIZE, SIZE)


def test_without_random_orders_nothing_is_supported(erasing: Erasing) -> None:
    effects = erasing.effects()
    found = faithfulness(erasing, {"truth": effects}, effects, random_orders=0)["truth"]
    assert (found.chance, found.p, found.verdict) == ((), 1.0, "unsupported")


def test_an_untaught_network_is_explained_otherwise() -> None:
    from foveal.nets.whitened import Whitened

    torch.manual_seed(0)
    _, task = world()
    model, raws = Model(task, Whitened(3, SIZE)), [painted(reds(seed)) for seed in range(6)]
    with torch.no_grad():
        nn.init.normal_(model.head.weight)  # type: ignore[arg-type]
    found = randomised(model, task, raws)
    assert set(found) == {"same_example", "other_examples", "passes"}
    assert randomised(model, task, raws) == found


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_maps_keep_their_total_on_any_grid(height: int, width: int, rows: int, columns: int) -> None:
    level = np.random.default_rng(height * width).standard_normal((height, width)).astype(np.float32)
    like = Explanation("any", Prediction(), (level, level), 0.0, 0.0, True, np.eye(2, 3), Size(1, 1))
    found = on_grid(like, (rows, columns))
    assert found.shape == (rows * columns,)
    assert found.sum() == pytest.approx(2 * float(level.sum(dtype=np.float64)), abs=1e-4)
    if (height, width) == (rows, columns):
        np.testing.assert_allclose(found, 2 * level.ravel(), atol=1e-6)


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=20), st.randoms())
def test_agreement_is_spearmans(values: list[int], random) -> None:
    others = [random.random() for _ in values]
    one, other = np.array(values, float), np.array(others)
    if len(set(values)) == 1 or len(set(others)) == 1:
        assert agreement(one, other) == 0
    else:
        assert agreement(one, other) == pytest.approx(float(spearmanr(one, other).statistic))  # type: ignore[attr-defined]


def test_a_ledger_alone_is_not_measured() -> None:
    model, task = world()
    found = ledger(model, task, painted(reds()))
    assert found.faithfulness is None
    assert found.erased is None
