"""Ridge against scikit-learn and against really refitting without the rows left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as SklearnRidge
from torch import Tensor

from foveal.linalg import DIRECTIONS, PENALTIES, SUM_PENALTIES, RidgeSums, fit_ridge


def problem(rows: int, columns: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, columns)) * rng.uniform(0.1, 10, columns) + rng.normal(size=columns)
    targets = features @ rng.normal(size=(columns, classes)) * 0.1 + rng.normal(size=(rows, classes))
    return torch.from_numpy(features), torch.from_numpy(targets)


def scales(features: Tensor) -> np.ndarray:
    values = features.numpy()
    return np.maximum(values.std(0), (values.max(0) - values.min(0)) / 6)


def refit(features: Tensor, targets: Tensor, relative: float, scale: np.ndarray, centre: np.ndarray) -> SklearnRidge:
    """scikit-learn's ridge at the same penalty, on rows standardised as the whole set was."""
    standard = (features.numpy() - centre) / scale
    return SklearnRidge(alpha=relative, solver="svd").fit(standard, targets.numpy())


@pytest.mark.parametrize(("rows", "columns"), [(40, 15), (30, 80), (25, 25)])
def test_equals_scikit_learn_at_the_chosen_penalty(rows: int, columns: int) -> None:
    features, targets = problem(rows, columns, 3, seed=rows)
    found = fit_ridge(features, targets, np.arange(rows))
    scale, centre = scales(features), features.numpy().mean(0)
    typical = float((((features.numpy() - centre) / scale) ** 2).sum(1).mean())
    reference = refit(features, targets, found.penalty * typical, scale, centre)
    expected = reference.predict((features.numpy() - centre) / scale)
    predicted = (features - found.centre) @ found.weight + found.bias
    np.testing.assert_allclose(predicted.numpy(), expected, rtol=1e-8, atol=1e-8)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), rows=st.integers(8, 24), columns=st.integers(2, 40))
def test_left_out_scores_are_those_of_a_refit_without_the_unit(seed: int, rows: int, columns: int) -> None:
    features, targets = problem(rows, columns, 2, seed)
    units = np.random.default_rng(seed).integers(0, max(3, rows // 2), rows)
    if len(np.unique(units)) < 2:
        units[0] = units.max() + 1
    found = fit_ridge(features, targets, units)
    scale, centre = scales(features), features.numpy().mean(0)
    standard = (features.numpy() - centre) / scale
    typical = float((standard**2).sum(1).mean())
    for unit in np.unique(units):
        out = units == unit
        if out.all():
            continue
        model = SklearnRidge(alpha=found.penalty * typical, solver="svd").fit(standard[~out], targets.numpy()[~out])
        np.testing.assert_allclose(found.left_out.numpy()[out], model.predict(standard[out]), rtol=1e-5, atol=1e-6)


def test_the_penalty_is_the_one_whose_left_out_error_is_least() -> None:
    features, targets = problem(40, 60, 2, seed=5)
    found = fit_ridge(features, targets, np.arange(40))
    scale, centre = scales(features), features.numpy().mean(0)
    standard = (features.numpy() - centre) / scale
    typical = float((standard**2).sum(1).mean())

    def error(relative: float) -> float:
        total = 0.0
        for row in range(40):
            rest = np.arange(40) != row
            model = SklearnRidge(alpha=relative * typical, solver="svd").fit(standard[rest], targets.numpy()[rest])
            total += float(((model.predict(standard[row : row + 1]) - targets.numpy()[row]) ** 2).sum())
        return total

    assert found.penalty == min(PENALTIES, key=error)


def test_duplicated_rows_in_one_unit_do_not_predict_each_other() -> None:
    rng = np.random.default_rng(0)
    features, labels = torch.from_numpy(rng.normal(size=(60, 100))), torch.from_numpy(rng.integers(0, 2, 60))
    twice, targets = torch.cat([features, features]), torch.nn.functional.one_hot(torch.cat([labels, labels]), 2)
    together = fit_ridge(twice, targets, np.tile(np.arange(60), 2))
    apart = fit_ridge(twice, targets, np.arange(120))
    right = {
        name: float((fit.left_out.argmax(1) == torch.cat([labels, labels])).double().mean())
        for name, fit in (("together", together), ("apart", apart))
    }
    assert right["apart"] > 0.9, "row by row, a copy gives the answer away"
    assert right["together"] < 0.7, "noise has nothing to predict"


def test_a_feature_that_never_varies_gets_no_weight() -> None:
    features, targets = problem(30, 5, 2, seed=1)
    features[:, 2] = 7.0
    found = fit_ridge(features, targets, np.arange(30))
    assert torch.isfinite(found.weight).all()
    assert (found.weight[2] == 0).all()


def test_a_rare_feature_does_not_throw_predictions_out() -> None:
    features = torch.zeros(200, 50, dtype=torch.float64)
    features[:, :10] = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 10)))
    for column in range(10, 50):
        features[column, column] = 1.0
    targets = (features[:, :1] > 0).double()
    found = fit_ridge(features, targets, np.arange(200))
    odd = torch.zeros(1, 50, dtype=torch.float64)
    odd[:, 10:] = 1.0
    assert float(((odd - found.centre) @ found.weight + found.bias).abs()) < 5


@pytest.mark.parametrize(("rows", "columns"), [(40, 9), (30, 400), (600, 300)])
def test_directions_are_those_in_which_the_rows_differ_most(rows: int, columns: int) -> None:
    features, targets = problem(rows, columns, 2, seed=2)
    found = fit_ridge(features, targets, np.arange(rows))
    standard = ((features.double() - found.centre) / found.scale).numpy()
    values, right = np.linalg.svd(standard, full_matrices=False)[1:]
    count = min(DIRECTIONS, int((values > 1e-6 * values[0]).sum()) // 2)
    own = found.directions.numpy()
    np.testing.assert_allclose(np.abs((own[:count] * right[:count]).sum(1)), 1, atol=1e-6)
    assert not own[count:].any()


def summed(rows: int = 400, folds: int = 4) -> tuple[RidgeSums, Tensor, Tensor, Tensor, Tensor]:
    """Sums of rows with their features, targets, weights and folds; one feature never varies."""
    noise = torch.Generator().manual_seed(3)
    features = torch.randn(rows, 12, generator=noise) * torch.logspace(-1, 2, 12) + 50
    features[:, 5] = 7.0
    targets = features @ torch.randn(12, 2, generator=noise) * 0.1 + torch.randn(rows, 2, generator=noise)
    weights, fold = torch.rand(rows, generator=noise) + 0.1, torch.arange(rows) % folds
    sums = RidgeSums(12, 2, folds)
    for start in range(0, rows, 60):
        for own in range(folds):
            part = torch.arange(start, min(start + 60, rows))
            part = part[fold[part] == own]
            sums.add(features[part], targets[part], weights[part], own)
    return sums, features, targets, weights, fold


def known(features: Tensor, targets: Tensor, weights: Tensor, penalty: float) -> SklearnRidge:
    """scikit-learn's ridge on features standardised by the same weights."""
    x, w = features.double().numpy(), weights.double().numpy()
    mean = np.average(x, axis=0, weights=w)
    scale = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))
    scale[scale < 1e-4] = np.inf
    model = SklearnRidge(alpha=penalty * w.sum()).fit((x - mean) / scale, targets.double().numpy(), sample_weight=w)
    model.coef_, model.intercept_ = model.coef_ / scale, model.intercept_ - (model.coef_ / scale) @ mean
    return model


@pytest.mark.parametrize("penalty", [1e-4, 0.3])
@pytest.mark.parametrize("without", [None, 2])
@pytest.mark.parametrize("rows", [400, 20_000])
def test_sums_give_the_ridge_of_the_rows(penalty: float, without: int | None, rows: int) -> None:
    """Of few rows, which all wait, and of many, of which some are summed before the last ones come."""
    sums, features, targets, weights, fold = summed(rows)
    kept = fold != (-1 if without is None else without)
    expected = known(features[kept], targets[kept], weights[kept], penalty)
    weight, bias = sums.solve(penalty, without)
    np.testing.assert_allclose(weight.T.numpy(), expected.coef_, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(bias.numpy(), expected.intercept_, atol=1e-3, rtol=1e-3)


def test_of_no_rows_nothing_follows() -> None:
    sums = RidgeSums(3, 2, 2)
    weight, bias = sums.solve(sums.penalty())
    assert not weight.any()
    assert not bias.any()
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    sums.add(rows, rows[:, :2], torch.ones(8), 0)
    weight, bias = sums.solve(sums.penalty(), without=0)
    assert not weight.any()


def test_the_penalty_predicts_left_out_folds_best() -> None:
    sums, features, targets, weights, fold = summed()
    errors = {}
    for penalty in SUM_PENALTIES:
        error = 0.0
        for own in range(4):
            model, left = known(*(t[fold != own] for t in (features, targets, weights)), penalty), fold == own
            residual = model.predict(features[left].double().numpy()) - targets[left].numpy()
            error += float(np.average((residual**2).sum(1), weights=weights[left]) * weights[left].sum())
        errors[penalty] = error
    assert sums.penalty() == min(errors, key=lambda penalty: errors[penalty])
