"""Intervals against scipy and published numbers where there are some, and against simulated truth where not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foveal.intervals import ANYTHING, SHARE, bootstrap, difference, proportion
from foveal.types import Estimate


def rows(hits: int, n: int) -> np.ndarray:
    return np.arange(n) < hits


@given(n=st.integers(1, 400), data=st.data())
def test_independent_rows_give_wilson(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    reference = stats.binomtest(hits, n).proportion_ci(method="wilson")
    estimate = proportion(rows(hits, n), np.arange(n)[::-1])
    assert estimate.low is not None
    assert (estimate.value, estimate.n) == (hits / n, n)
    assert (estimate.low, estimate.high) == pytest.approx((reference.low, reference.high), abs=1e-12)
    assert estimate.low <= estimate.value <= (estimate.high or 0)


def test_one_unit_has_no_interval() -> None:
    estimate = proportion(rows(7, 10), np.zeros(10, int))
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.7, None, None, 10)
    assert difference(rows(7, 10), rows(5, 10), np.arange(10), np.zeros(10, int)).low is None


def test_grouped_interval_against_the_delete_one_jackknife() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(7), [3, 9, 14, 5, 20, 8, 11])
    successes = rng.random(70) < np.repeat(rng.beta(2, 1, 7), [3, 9, 14, 5, 20, 8, 11])
    p = successes.mean()
    left_out = np.array([successes[units != u].mean() for u in range(7)])
    variance = 6 / 7 * ((left_out - p) ** 2).sum()
    effective = 70 / max(1, variance / (p * (1 - p) / 70))
    t = stats.t.ppf(0.975, 6)
    # Wilson's interval is where |p - q| <= t sqrt(q (1 - q) / n): the roots of that quadratic in q.
    roots = np.roots([1 + t**2 / effective, -(2 * p + t**2 / effective), p**2])
    estimate = proportion(successes, units * 1000 + 5)
    assert effective < 60
    assert (estimate.low, estimate.high) == pytest.approx((roots.min(), roots.max()))
    assert estimate.n == 70


def test_pairs_of_copies_are_worth_one_row_each() -> None:
    hits = rows(40, 60)
    single, doubled = proportion(hits, np.arange(60)), proportion(np.repeat(hits, 2), np.repeat(np.arange(60), 2))
    assert doubled.low == pytest.approx(single.low, abs=0.006)
    assert doubled.high == pytest.approx(single.high, abs=0.006)
    assert doubled.n == 120


def test_agreement_of_groups_never_counts_more_than_independence() -> None:
    alternating, units = np.arange(40) % 2 == 0, np.repeat(np.arange(20), 2)
    grouped, independent = proportion(alternating, units), proportion(alternating, np.arange(40))
    assert grouped.low is not None
    assert independent.low is not None
    assert grouped.low < independent.low


def test_all_right_counts_every_unit_once() -> None:
    estimate = proportion(np.ones(100, bool), np.repeat(np.arange(5), 20))
    t = stats.t.ppf(0.975, 4)
    assert estimate.low == pytest.approx(5 / (5 + t**2))
    assert estimate.high == 1.0


# Newcombe, Statist. Med. 17:873 (1998), table II, method 10.
@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 10, 0.6075, 1.0),
        (10, 10, 0, 20, 0.6791, 1.0),
    ],
)
def test_difference_against_published_numbers(a: int, m: int, b: int, n: int, low: float, high: float) -> None:
    estimate = difference(rows(a, m), rows(b, n), np.arange(m), np.arange(n))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=6e-5)
    assert (estimate.value, estimate.n) == (pytest.approx(a / m - b / n), m + n)


def simulate(groups: int, icc: float, p: float, trials: int, seed: int, spread: float) -> tuple[float, float, float]:
    """Share of trials whose interval holds p: grouped, plain Wilson; and that of `difference` holding 0."""
    rng = np.random.default_rng(seed)
    hit, plain, apart = 0, 0, 0
    for _ in range(trials):
        samples = []
        for _ in range(2):
            size = np.maximum(1, np.round(12 * np.exp(rng.normal(0, spread, groups)))).astype(int)
            chance = rng.beta(p * (1 - icc) / icc, (1 - p) * (1 - icc) / icc, groups)
            units = np.repeat(np.arange(groups), size)
            samples.append((rng.random(len(units)) < chance[units], units))
        (a, a_units), (b, b_units) = samples
        estimate, naive = proportion(a, a_units), proportion(a, np.arange(len(a)))
        between = difference(a, b, a_units, b_units)
        assert estimate.low is not None and estimate.high is not None
        assert naive.low is not None and naive.high is not None
        assert between.low is not None and between.high is not None
        hit += estimate.low <= p <= estimate.high
        plain += naive.low <= p <= naive.high
        apart += between.low <= 0 <= between.high
    return hit / trials, plain / trials, apart / trials


@pytest.mark.parametrize("groups", [4, 7, 12, 20])
@pytest.mark.parametrize(("icc", "p", "spread"), [(0.1, 0.8, 0.0), (0.3, 0.7, 0.0), (0.2, 0.85, 0.5)])
def test_coverage_under_groups(groups: int, icc: float, p: float, spread: float) -> None:
    grouped, plain, apart = simulate(groups, icc, p, 600, groups, spread)
    print(f"groups {groups} icc {icc} p {p} spread {spread}: {grouped:.3f} plain {plain:.3f} difference {apart:.3f}")
    assert 0.90 <= grouped <= 0.999
    assert plain < 0.88
    assert grouped > plain + 0.05
    assert apart >= 0.90


def mean_by(values: np.ndarray):
    return lambda weights: float(np.average(values, weights=weights))


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(0).exponential(2.0, 300)
    estimate = bootstrap(mean_by(values), np.arange(300), seed=1, resamples=2000)
    half = 1.96 * values.std() / np.sqrt(300)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.12 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.12 * half)


def test_bootstrap_draws_whole_units() -> None:
    values = np.random.default_rng(0).normal(size=40)
    single = bootstrap(mean_by(values), np.arange(40))
    copied = bootstrap(mean_by(np.repeat(values, 25)), np.repeat(np.arange(40), 25))
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))
    assert copied.n == 1000


def test_bootstrap_says_nothing_where_it_cannot() -> None:
    values = np.arange(10.0)
    assert bootstrap(mean_by(values), np.zeros(10, int)).low is None
    assert bootstrap(mean_by(np.ones(10)), np.arange(10)).low is None
    assert bootstrap(mean_by(values), np.arange(10)) == bootstrap(mean_by(values), np.arange(10))


def test_bootstrap_leaves_out_resamples_without_an_answer() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])

    def of_first_two(weights: np.ndarray) -> float:
        total = weights[:2].sum()
        return float(values[:2] @ weights[:2] / total) if total else float("nan")

    estimate = bootstrap(of_first_two, np.arange(4), resamples=500)
    assert (estimate.low, estimate.high) == pytest.approx((1.0, 2.0), abs=0.05)


def test_bootstrap_stays_within_limits() -> None:
    """Of two rare ones most resamples lack one; moved up to the value, those that do not would be more than all."""

    def share_there(weights: np.ndarray) -> float:
        return float((weights[:2] > 0).mean())

    free, held = (bootstrap(share_there, np.arange(20), limits=limits) for limits in (ANYTHING, SHARE))
    assert free.high is not None and free.high > 1
    assert held == Estimate(free.value, free.low, 1.0, 20)


def overlap_of(both: np.ndarray, either: np.ndarray, there: np.ndarray):
    """(pictures, classes) each -> the mean, over the classes that are there, of how much is both."""

    def mean(weights: np.ndarray) -> float:
        own = weights @ there > 0
        return float(np.mean((weights @ both)[own] / (weights @ either)[own]))

    return mean


def test_coverage_of_a_mean_over_rare_classes() -> None:
    """The mean of samples of 100 pictures; quantiles of resamples themselves miss it, and their own value."""
    rng, classes = np.random.default_rng(0), 120
    often = np.exp(rng.uniform(np.log(0.003), np.log(0.6), classes))
    good, pictures = rng.uniform(0.2, 0.95, classes), 4000
    there = np.where(rng.random((pictures, classes)) < often, rng.lognormal(0, 1, (pictures, classes)), 0)
    both = there * (good + rng.normal(0, 0.15, there.shape)).clip(0, 1)
    either = there + np.where(rng.random(there.shape) < 0.2, rng.lognormal(-2, 1, there.shape), 0)
    samples = [rng.integers(pictures, size=100) for _ in range(200)]
    means = [overlap_of(both[rows], either[rows], there[rows]) for rows in samples]
    truth = np.mean([mean(np.ones(100)) for mean in means])
    held, plain, beside = 0, 0, 0
    for mean in means:
        estimate = bootstrap(mean, np.arange(100), resamples=200, limits=SHARE)
        assert estimate.low is not None and estimate.high is not None
        draws = [mean(np.bincount(rng.integers(100, size=100), minlength=100).astype(float)) for _ in range(200)]
        low, high = np.quantile(draws, (0.025, 0.975))
        held += estimate.low <= truth <= estimate.high
        plain += low <= truth <= high
        beside += not low <= estimate.value <= high
        assert estimate.low <= estimate.value <= estimate.high
    print(
        f"holds the truth: {held / 200:.3f}, quantiles {plain / 200:.3f}, beside their own value {beside / 200:.3f}"
    )
    assert held >= 0.84 * 200
    assert plain < 0.75 * 200
