"""What gives way where the minutes run out: training, then rows that are scored only to compare; never the test."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from foveal import api, bundle
from foveal.engine import checkpoint, tuning_plan
from foveal.engine.learners import slowness
from foveal.engine.reading import Material, sibling
from foveal.engine.tuning_plan import TuningPlan
from foveal.session import Session
from tests.e2e.test_fine_tune import MEASURED, PARTS, PLAN, begun, table
from tests.photos import write_photos

__all__ = ["table"]  # the fixture


@dataclass(frozen=True)
class Rows:
    rows: list[int] = field(default_factory=lambda: list(range(3 * PARTS["train"])))
    judged: list[int] = field(default_factory=lambda: list(range(120, 120 + 3 * PARTS["val"])))


@pytest.fixture(scope="module")
def read(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A session that has read its data and is not tuned yet."""
    measured = {**MEASURED, "probe": {"torch float32 channels_last on cpu": 100.0}}
    session = begun(table, tmp_path_factory.mktemp("runs") / "run", measured=measured)
    for step in session.steps():
        if step.phase == "learn":
            break
    return session


def reserve(session: Session, images_per_second: float | None, computed: int) -> float:
    """Seconds kept for what comes after training, where reading was so fast."""
    material = session.material
    cost = {"images_per_second": images_per_second, "computed": computed}
    slow = replace(material, cost=cost)
    slow.splits = material.splits
    option = tuning_plan.option_of(slow, slow)
    return tuning_plan.reserve(option, [Rows()], tuning_plan.pace(option))


def test_a_run_that_reads_slowly_keeps_more_for_its_test(read: Session) -> None:
    promised = 100.0 * (224 / 64) ** 2
    from_the_probe = reserve(read, None, 0)
    assert reserve(read, promised, 300) == from_the_probe  # no more is hoped for than was
    assert reserve(read, promised / 10, 10) == from_the_probe  # too few to tell
    slow = reserve(read, promised / 100, 300)
    scored = 3 * PARTS["test"] + 3 * PARTS["val"] + 3 * sum(PARTS.values())
    assert slow - from_the_probe == pytest.approx(scored / promised * (100 - 1 / 0.6))


@pytest.mark.parametrize("seconds", [1.0, 60.0, 3600.0])
def test_what_is_favoured_is_trained_again_where_there_is_time_for_both(read: Session, seconds: float) -> None:
    """4 epochs each at least, once the views of all are computed, and half as many again as views."""
    once, again = Rows(), Rows(rows=list(range(3 * (PARTS["train"] + PARTS["val"]))), judged=[])
    plan = tuning_plan.choose(read.material, [once, again], [once], lambda: seconds)
    assert plan.epochs >= (4 if plan.refitted else 0)
    assert plan.epochs >= plan.views
    assert bool(plan.why_not) is (seconds == 1)
    assert plan.refitted or seconds < 3600


def test_more_time_buys_more_epochs_then_larger_inputs_and_a_larger_network(
    read: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine of a fixed pace: 500 rows a second for a small network at 160 px."""

    def pace(material: Material, *_: object) -> float:
        return 500.0 / tuning_plan.option_of(read.material, material).work * (160 / 224) ** 2

    monkeypatch.setattr(tuning_plan, "_steps_rate", pace)
    own = replace(read.material.plan.sized(288), resizes=True)
    material = sibling(read.material, own)
    material.precision = read.material.precision
    jobs = [Rows(list(range(1000))), Rows(list(range(1200)), [])]
    budgets = (10.0, 100.0, 160.0, 300.0, 600.0, 3600.0)
    found = [tuning_plan.choose(material, jobs, jobs[:1], partial(float, left)) for left in budgets]
    assert found[0].why_not
    tried = [(plan.net, plan.size) for plan in found[1:]]
    preferred = [(net, size) for net in ("lite0", "lite2") for size in (160, 192, 224, 256, 288)]
    assert tried[0] == preferred[0]
    assert tried[-1] == preferred[-1]
    assert len(set(tried)) > 2
    refitted = [preferred.index(one) for one, plan in zip(tried, found[1:], strict=True) if plan.refitted]
    assert refitted == sorted(refitted)
    assert all(plan.boundary == 4 for plan in found[1:])
    for plan in found[3:]:
        assert plan.epochs >= 16
        assert plan.epochs >= plan.views


def test_without_leave_to_resize_the_size_that_was_asked_for_stays(read: Session) -> None:
    assert {one.material.task.input.size for one in tuning_plan.options(read.material)} == {64}
    assert [one.material.plan.net_name for one in tuning_plan.options(read.material)] == ["lite2", "lite0"]


def test_views_follow_from_what_they_take() -> None:
    """Of 1,000 s at 85 %: two minutes before, and views with one and a half epochs each."""
    plan, rows = TuningPlan(rows_per_second=120.0, reserve=100.0), [Rows(list(range(120)), [])]
    assert tuning_plan.views_for(plan, rows, 1000.0, 120.0, 0.5) == (900 * 0.85 - 120) // (60 + 1.5)
    assert tuning_plan.views_for(plan, rows, 1e6, 120.0, 0.5) == 24
    assert tuning_plan.views_for(plan, rows, 10.0, 120.0, 0.5) == 1
    layers = replace(plan, layers=True)  # four epochs each, and two at least
    assert tuning_plan.views_for(layers, rows, 1000.0, 120.0, 0.5) == (900 * 0.85 - 120) // (60 + 4)
    assert tuning_plan.views_for(layers, rows, 10.0, 120.0, 0.5) == 2


def test_views_that_are_computed_meanwhile_take_their_time() -> None:
    """Of 20 rows a second, each with two thirds of a view of 0.1 seconds: 0.05 + 0.0667 seconds a row of 100."""
    rows, plan = [Rows(list(range(100)), [])], TuningPlan(rows_per_second=20.0, held=3, views=9, batch_size=4)
    found = tuning_plan.renewed(plan, rows, 400.0, 0.1)
    assert found.epochs == int(400 * 0.95 / (100 * (0.05 + 0.1 / 1.5)))
    assert found.views == round(found.epochs / 1.5)
    assert plan.renews
    assert not TuningPlan(views=3, held=3).renews
    assert TuningPlan(views=3).at_once == 3


def test_layers_get_enough_epochs_before_more_views_are_computed() -> None:
    """40 epochs of 300 rows at 20 a second are 600 of 646 seconds; the others are one view of each row, no more."""
    rows = [Rows(list(range(300)), [])]
    plan = TuningPlan(rows_per_second=20.0, held=3, views=9, batch_size=4, layers=True)
    found = tuning_plan.renewed(plan, rows, 680.0, 0.1)
    assert (found.epochs, found.views) == (40, 4)
    assert found.rows_per_second == pytest.approx(40 * 300 / (40 * 300 / 20 + 30), abs=0.05)
    short = tuning_plan.renewed(plan, rows, 100.0, 0.1)
    assert (short.epochs, short.views) == (6, 3)
    long = tuning_plan.renewed(plan, rows, 4500.0, 0.1)
    assert (long.epochs, long.views) == (40, 10)  # one for four of them


@pytest.mark.parametrize(
    ("steps", "seconds", "times"), [(9, 900, 1.0), (10, 32, 1.0), (10, 64, 2.0), (10, 1e6, 3.0), (-3, 900, 1.0)]
)
def test_how_slow_it_is_shows_after_some_steps(steps: int, seconds: float, times: float) -> None:
    assert slowness(TuningPlan(batch_size=32, rows_per_second=10), steps, seconds) == times


@pytest.mark.parametrize(("rows_per_second", "stopped"), [(1e12, {"0": 10}), (1e-12, None)])
def test_training_that_is_slower_than_planned_ends_earlier(
    table: Path, tmp_path: Path, rows_per_second: float, stopped: dict[str, int] | None
) -> None:
    """Of 60 minutes it keeps 40, and three times as many where it turns out to be slower than planned."""
    plan = replace(PLAN, reserve=2400.0, rows_per_second=rows_per_second)
    run = api.finish(begun(table, tmp_path / "run", plan, minutes=60.0))
    assert run.card["decisions"].get("stopped") == stopped


def test_without_time_left_a_sample_of_what_was_learnt_is_scored_again(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "data", count=100)
    session = api.begin(data, out=tmp_path / "whole", size=64, minutes=0.001)
    run = api.finish(session)
    assert run.card["decisions"]["scored_again"] == 256
    assert run.card["scores"]["train"]["accuracy"]["n"] == 256
    assert run.test["accuracy"].n == len(bundle.load_rows(run.folder / bundle.PREDICTIONS))


def test_how_many_were_scored_again_is_replayed(tmp_path: Path) -> None:
    """Resumed with all the time in the world, it scores no more than it did."""
    data = write_photos(tmp_path / "data", count=100)
    session = api.begin(data, out=tmp_path / "run", size=64, minutes=0.001)
    session.state = session.state.decide(**MEASURED)
    for step in session.steps():
        if step.phase == "report":
            break
    state = checkpoint.load(session.folder)
    before = (session.folder / bundle.METRICS).read_bytes()
    patient = replace(session.plan, recipe=replace(session.plan.recipe, minutes=60.0))
    resumed = Session(session.folder, patient, state)
    for _ in resumed.steps():
        pass
    assert (session.folder / bundle.METRICS).read_bytes() == before
    assert bundle.load_card(session.folder)["decisions"]["scored_again"] == 256


def test_folds_for_which_there_is_no_time_are_left_out_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of six, here."""
    data, cards = write_photos(tmp_path / "photos", count=12), []
    for killed in (False, True):
        plan = TuningPlan(why_not="the closed form is looked at")
        session = begun(data, tmp_path / f"killed-{killed}", plan, folds=6)
        with monkeypatch.context() as patch:
            patch.setattr(Material, "seconds_to_run_again", lambda *_: 1e9)
            for step in session.steps():
                if step.phase == "evaluate" and killed:
                    break
        cards.append(api.resume(session.folder).card)
    for card in cards:
        assert card["decisions"]["folds_scored"] == 2
        assert card["scores"]["test"]["accuracy"]["n"] == 12
        assert "of 36 examples was predicted" in card["scored_on"]
        assert "There was no time for the other 4 folds" in card["scored_on"]
    assert cards[0]["scores"] == cards[1]["scores"]
