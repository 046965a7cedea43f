"""Classes: numbers against scikit-learn and torch, and maps that add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from foveal.targets import Classes
from foveal.targets._calibration import best_scale, expected_calibration_error
from foveal.types import Pieces, Prediction

NAMES = ("ant", "bee", "cat", "dog")


def predictions(chosen: np.ndarray, confidence: np.ndarray) -> list[Prediction]:
    return [Prediction(NAMES[k], float(c), origin=int(k)) for k, c in zip(chosen, confidence, strict=True)]


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), rows=st.integers(4, 60))
def test_the_metric_agrees_with_scikit_learn(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    truth, chosen = rng.integers(0, 4, rows), rng.integers(0, 4, rows)
    metric = Classes(NAMES).metric()
    metric.update(predictions(chosen, rng.uniform(0.25, 1, rows)), truth.tolist(), np.arange(rows))
    found, details = metric.compute(), metric.details()
    assert found["accuracy"].value == pytest.approx(accuracy_score(truth, chosen))
    assert found["macro_f1"].value == pytest.approx(f1_score(truth, chosen, average="macro", zero_division=0))
    assert found["accuracy"].n == rows
    np.testing.assert_array_equal(details["confusion"], confusion_matrix(truth, chosen, labels=range(4)))
    for k, row in enumerate(details["classes"]):
        for name, score in (("precision", precision_score), ("recall", recall_score)):
            expected = score(truth == k, chosen == k, zero_division=np.nan)
            assert (row[name] is None) == bool(np.isnan(expected))
            assert row[name] is None or row[name]["value"] == pytest.approx(expected)


def test_the_baseline_is_the_majority_class() -> None:
    metric = Classes(NAMES).metric()
    truth = np.array([1] * 84 + [2] * 16)
    metric.update(predictions(truth, np.full(100, 0.9)), truth.tolist(), np.arange(100))
    assert metric.details()["baseline"]["class"] == "bee"
    assert metric.details()["baseline"]["accuracy"]["value"] == pytest.approx(0.84)


def test_groups_widen_the_interval() -> None:
    truth = np.zeros(100, int)
    chosen = np.repeat([0, 0, 0, 1, 0, 1, 0, 0, 1, 0], 10)
    widths = []
    for units in (np.arange(100), np.repeat(np.arange(10), 10)):
        metric = Classes(NAMES).metric()
        metric.update(predictions(chosen, np.ones(100)), truth.tolist(), units)
        estimate = metric.compute()["accuracy"]
        assert estimate.low is not None
        assert estimate.high is not None
        widths.append(estimate.high - estimate.low)
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize("factor", [0.02, 1.0, 7.0, 300.0])
@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0, 5.0])
def test_calibration_finds_the_scale_that_scipy_finds(factor: float, noise: float) -> None:
    """Of logits that are always right, too, and of some that hardly are."""
    from scipy.optimize import minimize_scalar

    rng = np.random.default_rng(3)
    truth = torch.from_numpy(rng.integers(0, 4, 300))
    logits = factor * (F.one_hot(truth, 4).double() + noise * torch.from_numpy(rng.normal(size=(300, 4))))
    reference = minimize_scalar(
        lambda s: float(F.cross_entropy(logits * np.exp(s), truth, label_smoothing=1 / 302)),
        bounds=(np.log(1e-3), np.log(1e3)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert best_scale(logits, truth) == pytest.approx(float(np.exp(reference.x)), rel=1e-4)


def test_calibration_stays_where_nothing_tells_a_scale() -> None:
    truth = torch.tensor([0, 1, 0, 1])
    assert best_scale(torch.zeros(4, 2), truth) == 1
    always_wrong = torch.tensor([[0.0, 9.0], [9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])
    assert best_scale(always_wrong, truth) == pytest.approx(1e-3, rel=1e-3)


def test_calibration_error_of_known_cases() -> None:
    right = np.array([True, True, True, False])
    assert expected_calibration_error(np.full(4, 0.75), right) == pytest.approx(0)
    assert expected_calibration_error(np.full(4, 0.95), right) == pytest.approx(0.20)


def test_calibrated_probabilities_have_a_lower_loss() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 400)
    logits = 9 * (F.one_hot(torch.from_numpy(truth), 4) + torch.from_numpy(rng.normal(size=(400, 4)))).float()
    target = Classes(NAMES)
    pieces = nothing(400)
    calibrated = target.calibrate({"logits": logits}, truth.tolist(), pieces)

    def loss(own: Classes) -> float:
        probabilities = own.finish()({"logits": logits}, pieces)["probabilities"]
        return float(F.nll_loss(probabilities.log(), torch.from_numpy(truth)))

    assert loss(calibrated) < loss(target)


def nothing(rows: int) -> Pieces:
    empty = torch.zeros(rows, dtype=torch.int64)
    return Pieces(torch.zeros(rows, 2, 3), empty, empty, torch.zeros(rows, 4), torch.ones(rows, 2, dtype=torch.int64))


def test_the_closed_form_separates_what_is_separable_and_ships_what_it_scored() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 200)
    head = Classes(NAMES).head((6, 5), (8, 16))
    maps = [torch.from_numpy(rng.normal(size=(200, c, s, s))).float() for c, s in ((6, 4), (5, 2))]
    maps[0][:, :4] += 2 * F.one_hot(torch.from_numpy(labels), 4)[:, :, None, None]
    features = head.gather(maps)
    solution = Classes(NAMES).solve(head, features, labels.tolist(), nothing(200), np.arange(200))
    head.load_state_dict(solution.state)
    assert (head.read(features)["logits"].argmax(1).numpy() == labels).mean() > 0.97
    assert (solution.left_out["logits"].argmax(1).numpy() == labels).mean() > 0.95


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_cells_and_bias_are_the_logit(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = Classes(NAMES, temperature=0.5)
    head = target.head((3, 4, 5), (4, 8, 16))
    state = {name: torch.randn(value.shape, generator=generator) for name, value in head.state_dict().items()}
    state["scale"] = state["scale"].abs() + 0.5
    head.load_state_dict(state)
    maps = [torch.randn(1, c, s, s + 1, generator=generator) for c, s in ((3, 8), (4, 4), (5, 2))]
    logits = head(maps)["logits"][0]
    for index, name in enumerate(NAMES):
        cells, bias = target.cells(head, maps, Prediction(name, origin=index))
        assert [tuple(level.shape) for level in cells] == [(4, 5), (2, 3)], "stride 4 is not pooled"
        assert bias + sum(float(level.detach().sum()) for level in cells) == pytest.approx(
            2 * float(logits[index].detach()), abs=2e-4
        )


def test_the_runner_up_is_the_second_most_likely_class() -> None:
    first = Prediction("bee", 0.6, (0.1, 0.6, 0.25, 0.05), origin=1)
    second = Classes(NAMES).alternative(first)
    assert second is not None
    assert (second.label, second.score, second.origin) == ("cat", 0.25, 2)


def test_distance_is_what_the_known_directions_leave() -> None:
    """Held against scikit-learn's PCA of the standardised rows."""
    generator = torch.Generator().manual_seed(4)
    target = Classes(NAMES)
    head = target.head((3, 4, 5), (4, 8, 16))
    width = head.state_dict()["scale"].numel()
    rows, others = (torch.randn(count, width, generator=generator) for count in (40, 15))
    assert head.distance(others) is None  # nothing was solved yet
    solution = target.solve(head, rows, [k % len(NAMES) for k in range(40)], nothing(40), np.arange(40))
    head.load_state_dict(solution.state)
    standard, seen = (((x - solution.state["centre"]) / solution.state["scale"]).numpy() for x in (others, rows))
    pca = PCA(int(solution.state["directions"].any(1).sum())).fit(seen)
    left = standard - pca.inverse_transform(pca.transform(standard))
    found = head.distance(others)
    assert found is not None
    np.testing.assert_allclose(found.numpy(), np.sqrt((left**2).mean(1)), atol=1e-5)


def test_a_settled_head_says_the_same_and_knows_what_is_far() -> None:
    generator = torch.Generator().manual_seed(0)
    head = Classes(("a", "b", "c")).head((6, 8), (8, 16))
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator))
        head.bias.copy_(torch.randn(3, generator=generator))
    known = torch.randn(50, head.weight.shape[1], generator=generator) * 3 + 5
    before = head.read(known)["logits"]
    assert head.distance(known) is None
    head.settle(known)
    with torch.no_grad():
        after = head.read(known)["logits"]
        torch.testing.assert_close(after.softmax(1), before.softmax(1), atol=1e-5, rtol=1e-5)
        # What all classes share is gone.
        torch.testing.assert_close(after.mean(1), torch.zeros(50), atol=1e-4, rtol=0)
    # The average example is scored by the bias alone.
    with torch.no_grad():
        torch.testing.assert_close(
            head.read(known.mean(0, keepdim=True))["logits"][0], head.bias, atol=1e-4, rtol=1e-5
        )
    near, far = head.distance(known), head.distance(known + 100 * torch.randn(known.shape, generator=generator))
    assert near is not None
    assert far is not None
    assert near.max() < far.min()
